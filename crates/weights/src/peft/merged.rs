//! A base checkpoint with an adapter merged in, tensor by tensor as it is read.

use std::collections::BTreeMap;
use std::path::Path;

use safevlm_kernels::quant::QuantizedMatrix;

use super::names::{BaseNames, Role, parse};
use super::{ADAPTER_CONFIG, PeftAdapter};
use crate::error::WeightsError;
use crate::load::list;
use crate::tensors::{TakePiece, TensorInfo, TensorSource};

/// The base's checkpoint in which adapted weights read `W + scale * B * A` and saved modules read
/// as the adapter has them. Nothing is kept: the peak is the tensor that is read and its adapter.
pub struct Merged<'a> {
    base: &'a dyn TensorSource,
    adapter: &'a dyn TensorSource,
    /// By the base's tensor name.
    changes: BTreeMap<String, Change>,
}

/// What happens to one tensor of the base; the names are the adapter's.
#[derive(Debug, Default)]
struct Change {
    a: Option<String>,
    b: Option<String>,
    scale: f32,
    whole: Option<String>,
}

impl<'a> Merged<'a> {
    /// Finds the place of every tensor of `adapter` in `base`; reads no values.
    pub(super) fn new(base: &'a dyn TensorSource, adapter: &'a PeftAdapter) -> Result<Self, WeightsError> {
        let names = BaseNames::new(base.names());
        let tensors = adapter.tensors.as_ref();
        let mut merged = Self { base, adapter: tensors, changes: BTreeMap::new() };
        let mut problems = Vec::new();
        for name in tensors.names() {
            if let Err(problem) = merged.place(&name, &names, adapter) {
                problems.push(problem);
            }
        }
        // Whether the halves fit is asked only when each has found its place.
        if problems.is_empty() {
            problems.extend(merged.changes.iter().filter_map(|(name, change)| merged.check(name, change).err()));
        }
        if problems.is_empty() && merged.changes.is_empty() {
            problems.push("it holds no tensor".to_string());
        }
        match problems.is_empty() {
            true => Ok(merged),
            false => Err(WeightsError::Adapter {
                path: tensors.path().to_path_buf(),
                base: base.path().to_path_buf(),
                reason: list("problems", &problems),
            }),
        }
    }

    /// How many tensors of the base the adapter changes.
    pub fn changed(&self) -> usize {
        self.changes.len()
    }

    fn place(&mut self, name: &str, names: &BaseNames, adapter: &PeftAdapter) -> Result<(), String> {
        let (target, role) = parse(name)?;
        let base_name = match names.find(&target) {
            Err(_) if role == Role::Whole && is_guard(&target) => target.as_str(),
            found => found?,
        };
        let change = self.changes.entry(base_name.to_string()).or_default();
        let slot = match role {
            Role::A => &mut change.a,
            Role::B => &mut change.b,
            Role::Whole => &mut change.whole,
        };
        if let Some(other) = slot.replace(name.to_string()) {
            return Err(format!("`{other}` and `{name}` both belong to `{base_name}`"));
        }
        let module = target.strip_suffix(".weight").unwrap_or(&target);
        change.scale = adapter.config.scale(module);
        let rank = adapter.config.rank(module);
        let axis = match role {
            Role::A => 0,
            Role::B => 1,
            Role::Whole => return Ok(()),
        };
        let shape = self.adapter.info(name).map(|info| info.shape).unwrap_or_default();
        match shape.get(axis) == Some(&rank) {
            true => Ok(()),
            false => Err(format!("`{name}` is {shape:?}, of another rank than the {rank} of {ADAPTER_CONFIG}")),
        }
    }

    fn check(&self, name: &str, change: &Change) -> Result<(), String> {
        let shape =
            |source: &dyn TensorSource, name: &str| source.info(name).map(|info| info.shape).unwrap_or_default();
        let base = shape(self.base, name);
        let of_adapter = |name: &Option<String>| name.as_ref().map(|name| shape(self.adapter, name));
        if let Some(whole) = of_adapter(&change.whole)
            && whole != base
            && !is_guard(name)
        {
            return Err(format!("`{name}` is {base:?} in the base and {whole:?} in the adapter"));
        }
        match (of_adapter(&change.a), of_adapter(&change.b)) {
            (None, None) => Ok(()),
            (Some(a), Some(b)) => match (base.as_slice(), a.as_slice(), b.as_slice()) {
                ([output, input], [rank, a], [b, also]) if (a, b, also) == (input, output, rank) => Ok(()),
                _ => Err(format!("`{name}` is {base:?}, which lora_A {a:?} and lora_B {b:?} do not fit")),
            },
            (Some(_), None) => Err(format!("`{name}` has a lora_A and no lora_B")),
            (None, Some(_)) => Err(format!("`{name}` has a lora_B and no lora_A")),
        }
    }

    /// The source and name of the values before the product is added, and the product.
    fn parts<'n>(&'n self, name: &'n str) -> Result<(&'n dyn TensorSource, &'n str, Option<Product>), WeightsError> {
        let Some(change) = self.changes.get(name) else { return Ok((self.base, name, None)) };
        let (source, stored) = match &change.whole {
            Some(whole) => (self.adapter, whole.as_str()),
            None => (self.base, name),
        };
        let product = match (&change.a, &change.b) {
            (Some(a), Some(b)) => {
                let columns = self.adapter.info(a).and_then(|info| info.shape.last().copied()).unwrap_or(0);
                let (a, b) = (self.adapter.read_f32(a)?, self.adapter.read_f32(b)?);
                Some(Product { a, b, columns, scale: change.scale })
            }
            _ => None,
        };
        Ok((source, stored, product))
    }
}

/// Whether a tensor belongs to a guard head, which a base may not have.
fn is_guard(name: &str) -> bool {
    name.split('.').any(|part| part == "img_safety_head")
}

impl TensorSource for Merged<'_> {
    fn path(&self) -> &Path {
        self.base.path()
    }

    fn names(&self) -> Vec<String> {
        let added = self.changes.keys().filter(|name| self.base.info(name).is_none()).cloned();
        let mut names: Vec<String> = self.base.names().into_iter().chain(added).collect();
        names.sort();
        names
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        match self.changes.get(name).and_then(|change| change.whole.as_ref()) {
            Some(whole) => self.adapter.info(whole),
            None => self.base.info(name),
        }
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let (source, stored, product) = self.parts(name)?;
        let mut values = source.read_f32(stored)?;
        if let Some(product) = product {
            product.add_to(&mut values, 0);
        }
        Ok(values)
    }

    fn read_blocks(&self, name: &str) -> Result<Option<QuantizedMatrix>, WeightsError> {
        match self.changes.get(name) {
            None => self.base.read_blocks(name),
            Some(_) => Ok(None),
        }
    }

    fn read_pieces(&self, name: &str, take: &mut TakePiece<'_>) -> Result<(), WeightsError> {
        let (source, stored, product) = self.parts(name)?;
        let Some(product) = product else { return source.read_pieces(stored, take) };
        let (mut values, mut from) = (Vec::new(), 0);
        source.read_pieces(stored, &mut |piece| {
            values.clear();
            values.extend_from_slice(piece);
            product.add_to(&mut values, from);
            from += piece.len();
            take(&values)
        })
    }
}

/// `scale * B * A`.
struct Product {
    /// `[rank, columns]`.
    a: Vec<f32>,
    /// `[rows, rank]`.
    b: Vec<f32>,
    columns: usize,
    scale: f32,
}

impl Product {
    /// Adds the product's values from the place `from` on (row-major) to `values`.
    fn add_to(&self, values: &mut [f32], mut from: usize) {
        let Self { a, b, columns, scale } = self;
        let rank = a.len() / (*columns).max(1);
        let mut sums = vec![0.; *columns];
        let mut rest = values;
        while !rest.is_empty() {
            let (row, column) = (from / columns, from % columns);
            let (values, after) = rest.split_at_mut(rest.len().min(columns - column));
            let sums = &mut sums[..values.len()];
            sums.fill(0.);
            for (share, a) in b[row * rank..][..rank].iter().zip(a.chunks(*columns)) {
                sums.iter_mut().zip(&a[column..]).for_each(|(sum, a)| *sum += share * a);
            }
            values.iter_mut().zip(&*sums).for_each(|(value, sum)| *value += scale * sum);
            from += values.len();
            rest = after;
        }
    }
}
