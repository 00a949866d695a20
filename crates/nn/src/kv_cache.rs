//! Keys and values of the tokens seen so far, written in place.

use burn::tensor::{Device, Tensor};

/// The cache of one layer, `[batch, kv_heads, capacity, head_dim]` each.
///
/// The tensors are taken out, assigned and put back, because Burn writes a slice in place only while
/// nobody else holds the tensor.
#[derive(Debug, Default)]
struct LayerCache {
    keys: Option<Tensor<4>>,
    values: Option<Tensor<4>>,
}

/// Keys and values of all layers, allocated once for `capacity` tokens: with the first ones that are
/// written, because only they tell the type in which the model computes.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    /// `[batch, kv_heads, capacity, head_dim]`.
    shape: [usize; 4],
    device: Device,
    len: usize,
}

impl KvCache {
    /// Room for `capacity` tokens in each of `layers` layers.
    pub fn new(
        layers: usize,
        batch: usize,
        kv_heads: usize,
        capacity: usize,
        head_dim: usize,
        device: &Device,
    ) -> Self {
        let shape = [batch, kv_heads, capacity, head_dim];
        let layers = (0..layers).map(|_| LayerCache::default()).collect();
        Self { layers, shape, device: device.clone(), len: 0 }
    }

    /// Number of tokens held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of tokens there is room for.
    pub fn capacity(&self) -> usize {
        self.shape[2]
    }

    /// Appends one layer's keys and values behind the tokens held, and returns all of them. The
    /// length moves on only with [`advance`](Self::advance), when every layer has been written.
    ///
    /// # Shapes
    ///
    /// - input `[batch, kv_heads, tokens, head_dim]`
    /// - output `[batch, kv_heads, len + tokens, head_dim]`
    pub fn append(&mut self, layer: usize, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let (shape, start) = (self.shape, self.len);
        let empty = |new: &Tensor<4>| Tensor::zeros(shape, (&self.device, new.dtype()));
        let LayerCache { keys: old_keys, values: old_values } = &mut self.layers[layer];
        (write(old_keys, keys, start, empty), write(old_values, values, start, empty))
    }

    /// Counts `tokens` new tokens as held.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

fn write(
    slot: &mut Option<Tensor<4>>,
    new: Tensor<4>,
    start: usize,
    empty: impl Fn(&Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    let [batch, heads, tokens, width] = new.dims();
    let end = start + tokens;
    let old = slot.take().unwrap_or_else(|| empty(&new));
    let whole = old.slice_assign([0..batch, 0..heads, start..end, 0..width], new);
    let view = whole.clone().narrow(2, 0, end);
    *slot = Some(whole);
    view
}
