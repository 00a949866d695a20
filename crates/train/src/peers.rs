//! The processes that train together, each on a part of every step's samples. With the feature `mpi` they are those that
//! `mpirun` started; without it there is one.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use safevlm::{DeviceSpec, available};

use crate::error::TrainError;
use crate::optimizer::read_all;

/// The processes of one run.
pub struct Peers {
    rank: usize,
    size: usize,
    #[cfg(feature = "mpi")]
    universe: Option<mpi::environment::Universe>,
}

impl Peers {
    /// One process, whatever it was started by.
    pub fn alone() -> Self {
        Self {
            rank: 0,
            size: 1,
            #[cfg(feature = "mpi")]
            universe: None,
        }
    }

    /// Those that `mpirun`, or `srun`, has started together with this one. To be called once.
    pub fn join() -> Self {
        #[cfg(feature = "mpi")]
        {
            use mpi::traits::Communicator;
            // Set for every process by the launchers of Open MPI and of those with PMI or PMIx, such as MPICH and Slurm.
            let launched = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"];
            let launched = launched.iter().any(|variable| std::env::var_os(variable).is_some());
            if let Some(universe) = launched.then(mpi::initialize).flatten() {
                let world = universe.world();
                return Self { rank: world.rank() as usize, size: world.size() as usize, universe: Some(universe) };
            }
        }
        Self::alone()
    }

    /// The number of this process, from 0 on.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The device of this process: where `asked` names a kind of GPU without a number, each process of a machine takes
    /// the next one of it.
    pub(crate) fn device(&self, asked: DeviceSpec) -> DeviceSpec {
        // As the launchers number the processes of one machine: Open MPI, those with Hydra, Slurm.
        let numbers = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];
        let number = numbers.iter().find_map(|variable| std::env::var(variable).ok()?.parse().ok());
        match number {
            Some(number) if self.size > 1 => {
                nth_of_kind(asked, number, available().into_iter().map(|device| device.spec))
            }
            _ => asked,
        }
    }

    /// Whether this process is the one that writes.
    pub fn leads(&self) -> bool {
        self.rank == 0
    }

    /// This process's part of `all`.
    pub(crate) fn share<T>(&self, all: impl IntoIterator<Item = T>) -> Vec<T> {
        all.into_iter().skip(self.rank).step_by(self.size).collect()
    }

    /// Each value becomes its sum over all processes, which must all call this with as many values.
    pub fn sum(&self, values: &mut [f32]) {
        #[cfg(feature = "mpi")]
        if let Some(universe) = self.universe.as_ref().filter(|_| self.size > 1) {
            use mpi::collective::SystemOperation;
            use mpi::traits::CommunicatorCollectives;
            let world = universe.world();
            let mut sums = vec![0.0; PIECE.min(values.len())];
            // In pieces: a count is 32 bits wide, and no second buffer of all gradients is needed.
            for piece in values.chunks_mut(PIECE) {
                let sums = &mut sums[..piece.len()];
                world.all_reduce_into(&*piece, &mut *sums, SystemOperation::sum());
                piece.copy_from_slice(sums);
            }
        }
        let _ = values;
    }

    /// The sum of one number over all processes.
    pub(crate) fn total(&self, value: f64) -> f64 {
        if self.size == 1 {
            return value;
        }
        let mut values = [value as f32];
        self.sum(&mut values);
        f64::from(values[0])
    }

    /// Sums the gradients of every parameter of `model` that learns. One that no process has a gradient of gets none, so
    /// that the optimizer leaves it alone as it would in one process.
    pub(crate) fn sum_gradients<M: Module>(
        &self,
        model: &M,
        gradients: GradientsParams,
        device: &Device,
    ) -> Result<GradientsParams, TrainError> {
        if self.size == 1 {
            return Ok(gradients);
        }
        let mut flat = Flatten { gradients, values: Vec::new(), there: Vec::new(), failed: None };
        model.visit(&mut flat);
        if let Some(error) = flat.failed {
            return Err(error);
        }
        self.sum(&mut flat.values);
        self.sum(&mut flat.there);
        let there = flat.there.into_iter();
        let mut shaped = Shape { values: flat.values, there, at: 0, device, gradients: GradientsParams::new() };
        model.visit(&mut shaped);
        Ok(shaped.gradients)
    }

    /// Ends all processes because of `error`; comes back only where there is no other.
    pub(crate) fn fail(&self, error: &TrainError) {
        #[cfg(feature = "mpi")]
        if let Some(universe) = self.universe.as_ref().filter(|_| self.size > 1) {
            use mpi::traits::Communicator;
            eprintln!("error: process {} of {}: {error}", self.rank, self.size);
            universe.world().abort(i32::from(error.exit_code()));
        }
        let _ = error;
    }
}

/// The `nth` of the devices of the kind that `asked` names without a number, over and over; else `asked`.
fn nth_of_kind(asked: DeviceSpec, nth: usize, all: impl Iterator<Item = DeviceSpec>) -> DeviceSpec {
    use DeviceSpec::{Cuda, Metal, Vulkan, Wgpu};
    let is_of_kind = |found: &DeviceSpec| {
        matches!(
            (asked, found),
            (Cuda(None), Cuda(_)) | (Vulkan(None), Vulkan(_)) | (Wgpu(None), Wgpu(_)) | (Metal(None), Metal(_))
        )
    };
    let kind: Vec<DeviceSpec> = all.filter(is_of_kind).collect();
    if kind.is_empty() { asked } else { kind[nth % kind.len()] }
}

/// Values that are summed at once, four megabytes.
#[cfg(feature = "mpi")]
const PIECE: usize = 1 << 20;

/// The gradients of what learns, one behind another; zeros where there is none.
struct Flatten {
    gradients: GradientsParams,
    values: Vec<f32>,
    /// Of each parameter whether it has a gradient, 1 or 0.
    there: Vec<f32>,
    failed: Option<TrainError>,
}

impl ModuleVisitor for Flatten {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let count = param.lazy_shape().iter().product::<usize>();
        let gradient = self.gradients.remove::<D>(param.id);
        self.there.push(f32::from(u8::from(gradient.is_some())));
        let Some(gradient) = gradient else {
            return self.values.resize(self.values.len() + count, 0.0);
        };
        match read_all(gradient) {
            Ok(values) => self.values.extend(values),
            Err(error) => self.failed = Some(error),
        }
    }
}

/// And back.
struct Shape<'a> {
    values: Vec<f32>,
    there: std::vec::IntoIter<f32>,
    at: usize,
    device: &'a Device,
    gradients: GradientsParams,
}

impl Shape<'_> {
    fn take<const D: usize>(&mut self, id: ParamId, shape: [usize; D]) {
        let count = shape.iter().product::<usize>();
        let values = &self.values[self.at..self.at + count];
        self.at += count;
        if self.there.next().is_none_or(|there| there == 0.0) {
            return;
        }
        let values = values.to_vec();
        self.gradients.register(id, Tensor::<D>::from_data(TensorData::new(values, shape), self.device));
    }
}

impl ModuleVisitor for Shape<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.take::<D>(param.id, param.lazy_shape().dims());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_one_machine_take_one_device_each() {
        use DeviceSpec::{Auto, Cuda, Flex, Vulkan};
        let all = || [Cuda(Some(0)), Cuda(Some(1)), Vulkan(Some(0)), Flex].into_iter();
        let taken = |asked| [0, 1, 2].map(|nth| nth_of_kind(asked, nth, all()));
        assert_eq!(taken(Cuda(None)), [Cuda(Some(0)), Cuda(Some(1)), Cuda(Some(0))]);
        assert_eq!(taken(Vulkan(None)), [Vulkan(Some(0)); 3]);
        for asked in [Cuda(Some(1)), Flex, Auto] {
            assert_eq!(taken(asked), [asked; 3]);
        }
    }

    #[test]
    fn shares_are_all_of_it_once() {
        let share = |rank| {
            let mut peers = Peers::alone();
            (peers.rank, peers.size) = (rank, 3);
            peers.share(0..8)
        };
        assert_eq!([0, 1, 2].map(share), [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
        assert_eq!(Peers::alone().share(0..3), [0, 1, 2]);
    }
}
