//! What several prompts begin with is computed once: several questions about one picture cost one picture.

use burn::tensor::{Device, Tensor};
use safevlm_core::RgbImage;
use safevlm_core::profile::stage;
use safevlm_nn::{CausalLm, KvCache, Sequences, vlm};

use crate::generate::last_state;

/// A beginning below this many tokens is not worth a pass of its own.
const WORTH_SHARING: usize = 32;

/// How many tokens all prompts begin with alike, where they show the same pictures and these lie among those tokens.
/// Each prompt keeps at least one token of its own, whose state begins its answer.
pub(super) fn shared_beginning(
    prompts: &[Vec<u32>],
    images: &[Vec<&RgbImage>],
    image_token: Option<u32>,
) -> Option<usize> {
    let (first, others) = prompts.split_first().filter(|(_, others)| !others.is_empty())?;
    let alike = |other: &Vec<u32>| first.iter().zip(other).take_while(|(a, b)| a == b).count();
    let shortest = prompts.iter().map(Vec::len).min()?;
    let shared = others.iter().map(alike).min()?.min(shortest.checked_sub(1)?);
    let is_image = |id: &u32| image_token == Some(*id);
    let text_only = |prompt: &Vec<u32>| !prompt[shared..].iter().any(is_image);
    let worth = shared >= WORTH_SHARING && prompts.iter().all(text_only);
    // Last, for it may compare megabytes.
    (worth && images.iter().all(|each| same(each, images.first().map_or(&[][..], Vec::as_slice)))).then_some(shared)
}

fn same(images: &[&RgbImage], others: &[&RgbImage]) -> bool {
    images.len() == others.len() && images.iter().zip(others).all(|(a, b)| std::ptr::eq(*a, *b) || a == b)
}

/// Goes on from the one prefilled row of `sequences`, with one of `endings` in each row. Gives all rows and the state of
/// the last token of each.
///
/// # Shapes
///
/// - output `[endings, hidden]`
pub(super) fn go_on<L: CausalLm>(
    language_model: &L,
    sequences: Sequences,
    endings: &[Vec<u32>],
    cache: &mut KvCache,
    device: &Device,
) -> (Sequences, Tensor<2>) {
    let start = sequences.tokens();
    // Padding is seen by nobody, whatever its id.
    let sequences = sequences.continued(endings, 0);
    cache.repeat(endings.len());
    let embeddings = language_model.embed(sequences.ids(start, device));
    let hidden =
        stage("prefill", device, || vlm::run(language_model, embeddings, &sequences, start, Some(cache), device));
    (sequences, last_state(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: u32 = 9;

    fn prompts(endings: [&[u32]; 2]) -> Vec<Vec<u32>> {
        let stem = [vec![1; 30], vec![IMAGE; 10]].concat();
        endings.map(|ending| [&stem[..], ending].concat()).into()
    }

    #[test]
    fn questions_about_one_picture_share_it() {
        let (picture, equal) = (RgbImage::new(2, 2), RgbImage::new(2, 2));
        let images = [vec![&picture], vec![&equal]];
        let shared = |endings| shared_beginning(&prompts(endings), &images, Some(IMAGE));
        assert_eq!(shared([&[5, 6, 7], &[5, 8]]), Some(41));
        // A prompt that the other begins with keeps its last token.
        assert_eq!(shared([&[5, 6, 7], &[5, 6]]), Some(41));
        assert_eq!(shared([&[5], &[5]]), Some(40));
    }

    #[test]
    fn what_differs_is_not_shared() {
        let (picture, other) = (RgbImage::new(2, 2), RgbImage::from_pixel(2, 2, [1, 0, 0].into()));
        let same = [vec![&picture], vec![&picture]];
        let endings: [&[u32]; 2] = [&[5, 6], &[5, 7]];
        assert_eq!(shared_beginning(&prompts(endings), &[vec![&picture], vec![&other]], Some(IMAGE)), None);
        assert_eq!(shared_beginning(&prompts(endings)[..1], &same[..1], Some(IMAGE)), None);
        // A second picture, behind what is alike.
        assert_eq!(shared_beginning(&prompts([&[5, 6], &[7, IMAGE]]), &same, Some(IMAGE)), None);
        // Too little.
        let short = [vec![1, 2, 3], vec![1, 2, 4]];
        assert_eq!(shared_beginning(&short, &[vec![], vec![]], None), None);
        assert_eq!(shared_beginning(&[vec![], vec![]], &[vec![], vec![]], None), None);
    }
}
