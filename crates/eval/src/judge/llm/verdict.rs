//! The verdict in a reply.

/// What the reply's only `<label>..</label>` says, in upper or lower case; `None` where there is none, more than
/// one, or one that says something else.
pub(super) fn parse_verdict(reply: &str) -> Option<bool> {
    let text = reply.to_ascii_lowercase();
    let (_, rest) = text.split_once("<label>")?;
    let (word, behind) = rest.split_once("</label>")?;
    if behind.contains("<label>") || behind.contains("</label>") {
        return None;
    }
    match word.trim() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_tag_counts() {
        for (reply, verdict) in [
            ("<label>True</label>", Some(true)),
            ("<label>False</label>", Some(false)),
            ("Verdict: <LABEL> true\n</Label>.", Some(true)),
            ("", None),
            ("True", None),
            ("<label>True", None),
            ("<label>Maybe</label>", None),
            ("<label>True or False</label>", None),
            ("<label></label>", None),
            ("<label>True</label> <label>False</label>", None),
            ("<label>True</label> <label>True</label>", None),
            ("<label>Maybe</label> <label>True</label>", None),
            ("<label><label>True</label></label>", None),
            ("</label>True<label>", None),
            ("<verdict>True</verdict>", None),
        ] {
            assert_eq!(parse_verdict(reply), verdict, "{reply}");
        }
    }
}
