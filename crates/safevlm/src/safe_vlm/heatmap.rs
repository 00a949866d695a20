//! One forward pass for the verdict on an image and for where its harm is.

use safevlm_core::RgbImage;
use safevlm_family::{Family, Loaded};
use safevlm_nn::Padding;

use super::{SafeVlm, guard_prompt};
use crate::error::Error;
use crate::generate::to_vec;
use crate::heatmap::Heatmap;

impl SafeVlm {
    /// The verdict on an image, and what the guard says of each of its visual tokens, from one prefill.
    ///
    /// # Errors
    ///
    /// As for [`guard`](Self::guard), and if the guard looks at no visual token (the paper's v1 has a meta token
    /// instead) or the tokens lie in no grid.
    pub fn heatmap(&self, image: &RgbImage) -> Result<Heatmap, Error> {
        with_model!(&self.model, loaded => self.heatmap_with(loaded, image))
    }

    fn heatmap_with<F: Family>(&self, loaded: &Loaded<F>, image: &RgbImage) -> Result<Heatmap, Error> {
        let taxonomy = loaded.taxonomy().ok_or_else(|| Error::NoGuard { name: self.name.clone() })?;
        let no_map = |reason: &str| Error::NoHeatmap { name: self.name.clone(), reason: reason.to_owned() };
        let grid = loaded.family.token_grid(image.dimensions())?;
        let grid = grid.ok_or_else(|| no_map("its visual tokens lie in no grid"))?;

        let row = guard_prompt(&loaded.family, image)?;
        let inputs = loaded.family.inputs_of(vec![row], Padding::Right, &[image], &self.device)?;
        let pixels = inputs.pixels.ok_or_else(|| no_map("it sees no images"))?;
        let visual = loaded.model.visual_tokens(pixels, &self.device);
        let output = loaded.model.forward(&inputs.sequences, Some(visual.clone()), None, &self.device)?;
        let logits = loaded.model.guard_token_logits(&output.hidden, &inputs.sequences, visual, &self.device);
        let logits = logits.ok_or_else(|| no_map("its guard looks at a meta token and at no part of an image"))?;
        let [tokens, _] = logits.dims();
        if tokens != grid.tokens() {
            return Err(no_map("its visual tokens lie in no grid"));
        }
        let logits = to_vec(logits)?;
        let verdict = self.verdicts(loaded, output)?.pop().ok_or_else(|| Error::NoGuard { name: self.name.clone() })?;
        Ok(Heatmap::new(logits, grid, image.dimensions(), verdict, taxonomy)?)
    }
}
