//! Keys and values of the tokens seen so far, written in place.

use burn::tensor::{Device, Tensor};
use safevlm_core::host;

use crate::ops;

/// The cache of one layer, `[batch, kv_heads, capacity, head_dim]` each.
#[derive(Debug, Default)]
enum LayerCache {
    /// Nothing has been written.
    #[default]
    Empty,
    /// Tensors, which are taken out, assigned and put back, because Burn writes a slice in place only while nobody
    /// else holds the tensor.
    Tensors(Box<[Tensor<4>; 2]>),
    /// Main memory, which this project's own attention reads.
    Host { keys: Vec<f32>, values: Vec<f32> },
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
        let (old_keys, old_values) = match std::mem::take(&mut self.layers[layer]) {
            LayerCache::Tensors(both) => (*both).into(),
            LayerCache::Host { keys, values } => {
                (host::tensor(keys, shape, &self.device), host::tensor(values, shape, &self.device))
            }
            LayerCache::Empty => (empty(&keys), empty(&values)),
        };
        let (all_keys, seen_keys) = write(old_keys, keys, start);
        let (all_values, seen_values) = write(old_values, values, start);
        self.layers[layer] = LayerCache::Tensors(Box::new([all_keys, all_values]));
        (seen_keys, seen_values)
    }

    /// [`append`](Self::append) in main memory.
    ///
    /// # Shapes
    ///
    /// - input `[batch, tokens, kv_heads, head_dim]`
    /// - output `[batch, kv_heads, capacity, head_dim]`, of which `len + tokens` hold something
    pub(crate) fn append_on_host(&mut self, layer: usize, new_keys: &[f32], new_values: &[f32]) -> (&[f32], &[f32]) {
        let (shape, start) = (self.shape, self.len);
        let empty = || vec![0.0; shape.iter().product()];
        let (mut keys, mut values) = match std::mem::take(&mut self.layers[layer]) {
            LayerCache::Host { keys, values } => (keys, values),
            LayerCache::Tensors(both) => (*both).map(ops::values).into(),
            LayerCache::Empty => (empty(), empty()),
        };
        write_on_host(&mut keys, new_keys, shape, start);
        write_on_host(&mut values, new_values, shape, start);
        let slot = &mut self.layers[layer];
        *slot = LayerCache::Host { keys, values };
        match slot {
            LayerCache::Host { keys, values } => (keys, values),
            _ => unreachable!("it was written just now"),
        }
    }

    /// Makes `rows` rows of the one there is.
    ///
    /// # Panics
    ///
    /// If there are several rows, which is a mistake of the caller.
    pub fn repeat(&mut self, rows: usize) {
        assert_eq!(self.shape[0], 1, "one row is repeated");
        self.shape[0] = rows;
        for layer in &mut self.layers {
            *layer = match std::mem::take(layer) {
                LayerCache::Empty => LayerCache::Empty,
                LayerCache::Tensors(both) => LayerCache::Tensors(Box::new(both.map(|each| each.repeat_dim(0, rows)))),
                LayerCache::Host { keys, values } => {
                    LayerCache::Host { keys: keys.repeat(rows), values: values.repeat(rows) }
                }
            };
        }
    }

    /// Counts `tokens` new tokens as held.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

/// `old` with `new` from token `start` on, and a view of all tokens up to there.
fn write(old: Tensor<4>, new: Tensor<4>, start: usize) -> (Tensor<4>, Tensor<4>) {
    let [batch, heads, tokens, width] = new.dims();
    let end = start + tokens;
    let whole = old.slice_assign([0..batch, 0..heads, start..end, 0..width], new);
    let view = whole.clone().narrow(2, 0, end);
    (whole, view)
}

/// Writes `new`, `[batch, tokens, kv_heads, head_dim]`, into `old` from token `start` on.
fn write_on_host(old: &mut [f32], new: &[f32], [batch, heads, capacity, width]: [usize; 4], start: usize) {
    let tokens = new.len() / (batch * heads * width).max(1);
    for (at, head) in new.chunks_exact(width.max(1)).enumerate() {
        let (row, token, nth) = (at / heads / tokens, at / heads % tokens, at % heads);
        let place = ((row * heads + nth) * capacity + start + token) * width;
        old[place..place + width].copy_from_slice(head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_in_one_way_is_there_in_the_other() {
        let device = Device::flex();
        let tokens = |values: [f32; 2]| Tensor::<4>::from_data([[[[values[0]]], [[values[1]]]]], &device);
        let mut cache = KvCache::new(1, 1, 2, 3, 1, &device);
        cache.append_on_host(0, &[1.0, 2.0], &[3.0, 4.0]);
        cache.advance(1);
        let (keys, _) = cache.append(0, tokens([5.0, 6.0]), tokens([7.0, 8.0]));
        assert_eq!(ops::values(keys), [1.0, 5.0, 2.0, 6.0]);
        cache.advance(1);
        let (keys, values) = cache.append_on_host(0, &[9.0, 10.0], &[11.0, 12.0]);
        assert_eq!(keys, [1.0, 5.0, 9.0, 2.0, 6.0, 10.0]);
        assert_eq!(values, [3.0, 7.0, 11.0, 4.0, 8.0, 12.0]);
    }

    #[test]
    fn every_row_begins_with_what_is_repeated() {
        let device = Device::flex();
        for on_host in [true, false] {
            let mut cache = KvCache::new(1, 1, 1, 2, 1, &device);
            match on_host {
                true => drop(cache.append_on_host(0, &[1.0], &[2.0])),
                false => {
                    cache.append(
                        0,
                        Tensor::from_data([[[[1.0f32]]]], &device),
                        Tensor::from_data([[[[2.0f32]]]], &device),
                    );
                }
            }
            cache.advance(1);
            cache.repeat(2);
            let (keys, values) = cache.append_on_host(0, &[3.0, 4.0], &[5.0, 6.0]);
            assert_eq!((keys, values), (&[1.0, 3.0, 1.0, 4.0][..], &[2.0, 5.0, 2.0, 6.0][..]));
        }
    }
}
