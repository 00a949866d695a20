//! The token embedding table.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Int, Tensor};

use crate::ops;

/// One row for each token id; the output head too, where a model ties them.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[vocabulary, hidden]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// A table with small random rows, drawn lazily on `device`.
    pub fn new(vocabulary: usize, hidden: usize, device: &Device) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std: 0.02 };
        Self { weight: normal.init([vocabulary, hidden], device) }
    }

    /// # Shapes
    ///
    /// - ids `[batch, tokens]`
    /// - output `[batch, tokens, hidden]`
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, tokens] = ids.dims();
        let table = self.weight.val();
        let [_, hidden] = table.dims();
        table.select(0, ids.reshape([batch * tokens])).reshape([batch, tokens, hidden])
    }

    /// Logits of hidden states under a tied output head.
    ///
    /// # Shapes
    ///
    /// - hidden `[rows, hidden]`
    /// - output `[rows, vocabulary]`
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        ops::product(hidden, self.weight.val())
    }
}
