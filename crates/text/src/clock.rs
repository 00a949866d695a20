//! `strftime_now`, with which some templates write today's date.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::{Error, ErrorKind};

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Far longer than any format of a real template.
const FORMAT_LIMIT: usize = 256;

/// The present time, in UTC, as Python's `strftime` writes it.
///
/// # Errors
///
/// If the format has a directive that is not supported.
pub(crate) fn strftime_now(format: &str) -> Result<String, Error> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    strftime(format, seconds)
}

/// Year, month (from 1) and day of the month of the day that is `days` after 1 January 1970.
fn date(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // 400 years have 146,097 days.
    let mut year = 1970 + days / 146_097 * 400;
    let mut left = days % 146_097;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    let refuse = |what: String| Error::new(ErrorKind::InvalidOperation, what);
    if format.len() > FORMAT_LIMIT {
        return Err(refuse("the format of strftime_now is too long".to_owned()));
    }
    let days = seconds / 86_400;
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let (year, month, day) = date(days);
    let (weekday, month_name) = (DAYS[(days as usize + 3) % 7], MONTHS[month as usize - 1]);
    let hour12 = (hour + 11) % 12 + 1;
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let directive = chars.next();
        // `%-d` is the day without its zero.
        let (plain, directive) = if directive == Some('-') { (true, chars.next()) } else { (false, directive) };
        let two = |n: u64| if plain { n.to_string() } else { format!("{n:02}") };
        match directive {
            Some('Y') => text.push_str(&year.to_string()),
            Some('y') => text.push_str(&two(year % 100)),
            Some('m') => text.push_str(&two(month)),
            Some('d') => text.push_str(&two(day)),
            Some('e') => text.push_str(&format!("{day:2}")),
            Some('H') => text.push_str(&two(hour)),
            Some('I') => text.push_str(&two(hour12)),
            Some('M') => text.push_str(&two(minute)),
            Some('S') => text.push_str(&two(second)),
            Some('p') => text.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('B') => text.push_str(month_name),
            Some('b') => text.push_str(&month_name[..3]),
            Some('A') => text.push_str(weekday),
            Some('a') => text.push_str(&weekday[..3]),
            Some('F') => text.push_str(&format!("{year}-{month:02}-{day:02}")),
            Some('T') => text.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
            Some('%') => text.push('%'),
            other => return Err(refuse(format!("strftime_now does not know %{}", other.unwrap_or(' ')))),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_pythons() {
        // Checked with datetime.fromtimestamp(.., timezone.utc).strftime(..).
        let format = "%A %a %d %B %b %Y %y %m %H:%M:%S %I %p %-d %e %F %T %%";
        for (seconds, expected) in [
            (0, "Thursday Thu 01 January Jan 1970 70 01 00:00:00 12 AM 1  1 1970-01-01 00:00:00 %"),
            (951_827_696, "Tuesday Tue 29 February Feb 2000 00 02 12:34:56 12 PM 29 29 2000-02-29 12:34:56 %"),
            (1_735_689_599, "Tuesday Tue 31 December Dec 2024 24 12 23:59:59 11 PM 31 31 2024-12-31 23:59:59 %"),
            (4_107_542_400, "Monday Mon 01 March Mar 2100 00 03 00:00:00 12 AM 1  1 2100-03-01 00:00:00 %"),
        ] {
            assert_eq!(strftime(format, seconds).unwrap(), expected);
        }
        assert!(strftime("%Q", 0).is_err());
        assert!(strftime("%", 0).is_err());
        assert!(strftime_now("%Y").unwrap().len() == 4);
    }
}
