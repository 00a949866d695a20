//! What an encoder and a projector make of several images.

use burn::tensor::Tensor;

/// The tokens of several images, one image behind another. Images may have different numbers of them.
#[derive(Clone, Debug)]
pub struct ImageTokens {
    states: Tensor<2>,
    counts: Vec<usize>,
}

impl ImageTokens {
    /// # Shapes
    ///
    /// - states `[tokens of all images, width]`
    /// - counts: the tokens of each image
    ///
    /// # Panics
    ///
    /// If the counts do not add up to the states, which is a mistake of the caller.
    pub fn new(states: Tensor<2>, counts: Vec<usize>) -> Self {
        assert_eq!(states.dims()[0], counts.iter().sum::<usize>(), "one state a token");
        Self { states, counts }
    }

    /// Images that all have the same number of tokens.
    ///
    /// # Shapes
    ///
    /// - states `[images, tokens, width]`
    pub fn equal(states: Tensor<3>) -> Self {
        let [images, tokens, width] = states.dims();
        Self { states: states.reshape([images * tokens, width]), counts: vec![tokens; images] }
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.counts.len()
    }

    /// The tokens of each image.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// # Shapes
    ///
    /// - output `[tokens of all images, width]`
    pub fn states(&self) -> Tensor<2> {
        self.states.clone()
    }

    /// The same images with other states, one a token.
    pub fn map(self, change: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Self {
        Self::new(change(self.states), self.counts)
    }

    /// The same tokens, each as an image of its own.
    pub fn single(self) -> Self {
        let tokens = self.counts.iter().sum();
        Self { states: self.states, counts: vec![1; tokens] }
    }

    /// Images that all have the same number of tokens, as a batch.
    ///
    /// # Shapes
    ///
    /// - output `[images, tokens, width]`; none if the numbers differ or there is no image
    pub fn batched(&self) -> Option<Tensor<3>> {
        let (first, rest) = self.counts.split_first()?;
        let [_, width] = self.states.dims();
        let same = rest.iter().all(|count| count == first);
        same.then(|| self.states.clone().reshape([self.counts.len(), *first, width]))
    }

    /// The mean of each image's states.
    ///
    /// # Shapes
    ///
    /// - output `[images, width]`
    pub fn mean(&self) -> Tensor<2> {
        let [_, width] = self.states.dims();
        if let Some(batch) = self.batched() {
            let [images, ..] = batch.dims();
            return batch.mean_dim(1).reshape([images, width]);
        }
        self.each(|image| image.mean_dim(0))
    }

    /// The last state of each image.
    ///
    /// # Shapes
    ///
    /// - output `[images, width]`
    pub fn last(&self) -> Tensor<2> {
        self.each(|image| {
            let [tokens, _] = image.dims();
            image.narrow(0, tokens - 1, 1)
        })
    }

    /// Puts `token` (`[1, width]`) behind the tokens of each image.
    pub fn followed_by(&self, token: Tensor<2>) -> Self {
        let states = self.each(|image| Tensor::cat(vec![image, token.clone()], 0));
        Self { states, counts: self.counts.iter().map(|count| count + 1).collect() }
    }

    /// Joins what `make` gives for the states of each image.
    fn each(&self, make: impl Fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let starts = self.counts.iter().scan(0, |end, count| {
            let start = *end;
            *end += count;
            Some(start)
        });
        let image = |(start, count): (usize, &usize)| make(self.states.clone().narrow(0, start, *count));
        Tensor::cat(starts.zip(&self.counts).map(image).collect(), 0)
    }
}
