//! Image placeholders to visual tokens.

use crate::error::FamilyError;

/// Writes each `placeholder` as the visual tokens of its image, of which `counts` has the number, in reading
/// order.
///
/// # Errors
///
/// If placeholders and images are not equally many.
pub fn expand(ids: Vec<u32>, placeholder: u32, counts: &[usize]) -> Result<Vec<u32>, FamilyError> {
    let placeholders = ids.iter().filter(|id| **id == placeholder).count();
    if placeholders != counts.len() {
        return Err(FamilyError::Placeholders { placeholders, images: counts.len() });
    }
    let mut expanded = Vec::with_capacity(ids.len() + counts.iter().sum::<usize>());
    let mut counts = counts.iter();
    for id in ids {
        let times = if id == placeholder { counts.next().copied().unwrap_or(0) } else { 1 };
        expanded.extend(std::iter::repeat_n(id, times));
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn each_image_gets_its_own_number_of_tokens() {
        assert_eq!(expand(vec![1, 9, 2, 9], 9, &[2, 3]).unwrap(), [1, 9, 9, 2, 9, 9, 9]);
        assert_eq!(expand(vec![1, 2], 9, &[]).unwrap(), [1, 2]);
        assert!(expand(vec![9], 9, &[]).unwrap_err().to_string().contains("1 image placeholders for 0 images"));
        assert!(expand(vec![9], 9, &[1, 1]).is_err());
    }
}
