//! The backends: which are compiled in, and what they find on this machine.

use burn::tensor::Device;

use super::{DeviceClass, DeviceSpec};

/// A backend of its own, without an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Cuda,
    Metal,
    Vulkan,
    Wgpu,
    Flex,
}

impl Backend {
    /// All backends, in the order in which `auto` tries them.
    pub(super) const ALL: [Backend; 5] = [Backend::Cuda, Backend::Metal, Backend::Vulkan, Backend::Wgpu, Backend::Flex];

    /// The name for `--device`, which is also the Cargo feature's.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Backend::Cuda => "cuda",
            Backend::Metal => "metal",
            Backend::Vulkan => "vulkan",
            Backend::Wgpu => "wgpu",
            Backend::Flex => "flex",
        }
    }

    pub(super) const fn spec(self, index: Option<usize>) -> DeviceSpec {
        match self {
            Backend::Cuda => DeviceSpec::Cuda(index),
            Backend::Metal => DeviceSpec::Metal(index),
            Backend::Vulkan => DeviceSpec::Vulkan(index),
            Backend::Wgpu => DeviceSpec::Wgpu(index),
            Backend::Flex => DeviceSpec::Flex,
        }
    }

    pub(super) const fn compiled_in(self) -> bool {
        match self {
            Backend::Cuda => cfg!(feature = "cuda"),
            Backend::Metal => cfg!(feature = "metal"),
            Backend::Vulkan => cfg!(feature = "vulkan"),
            Backend::Wgpu => cfg!(feature = "wgpu"),
            Backend::Flex => cfg!(feature = "flex"),
        }
    }

    /// The backend's devices on this machine; none when it is not compiled in.
    pub(super) fn devices(self) -> Vec<(Device, DeviceClass)> {
        match self {
            #[cfg(feature = "flex")]
            Backend::Flex => vec![(Device::flex(), DeviceClass::Cpu)],
            #[cfg(feature = "cuda")]
            Backend::Cuda => {
                enumerate(burn::tensor::DeviceType::Cuda).map(|device| (device, DeviceClass::Gpu)).collect()
            }
            #[cfg(feature = "metal")]
            Backend::Metal => classified(burn::tensor::DeviceType::Metal, Device::metal),
            #[cfg(feature = "vulkan")]
            Backend::Vulkan => classified(burn::tensor::DeviceType::Vulkan, Device::vulkan),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu => classified(burn::tensor::DeviceType::Wgpu, Device::wgpu),
            #[allow(unreachable_patterns)] // reachable as soon as one backend is left out
            _ => Vec::new(),
        }
    }
}

#[cfg(any(feature = "cuda", feature = "metal", feature = "vulkan", feature = "wgpu"))]
fn enumerate(of: burn::tensor::DeviceType) -> impl Iterator<Item = Device> {
    // Burn 0.22.1 gives every thread a queue of its own on the device. Where a tensor then goes from one thread to
    // another between long runs of kernels, as embeddings and hidden states do, wgpu reads it before it is written:
    // wrong guard logits, without an error. One queue is also what a GPU that serves one model has use for.
    cubecl_environment::stream::set_policy(cubecl_environment::stream::StreamPolicy::Single);
    Device::enumerate(of).into_vec().into_iter()
}

/// wgpu's adapters with their class, told from the device's identity so that none is opened.
#[cfg(any(feature = "metal", feature = "vulkan", feature = "wgpu"))]
fn classified(
    of: burn::tensor::DeviceType,
    make: fn(burn::tensor::DeviceKind) -> Device,
) -> Vec<(Device, DeviceClass)> {
    use burn::tensor::DeviceKind;

    // Burn numbers each kind of adapter on its own; no machine has more of one kind than this.
    const MOST: usize = 64;
    let gpus: Vec<Device> = (0..MOST)
        .flat_map(|n| [DeviceKind::DiscreteGpu(n), DeviceKind::IntegratedGpu(n), DeviceKind::VirtualGpu(n)])
        .map(make)
        .collect();
    let software = make(DeviceKind::Cpu);
    enumerate(of)
        .map(|device| {
            let class = if gpus.contains(&device) {
                DeviceClass::Gpu
            } else if device == software {
                DeviceClass::SoftwareAdapter
            } else {
                DeviceClass::Unclassified
            };
            (device, class)
        })
        .collect()
}

#[cfg(all(test, any(feature = "cuda", feature = "metal", feature = "vulkan", feature = "wgpu")))]
mod tests {
    use cubecl_environment::stream::{StreamPolicy, policy};

    use super::*;

    #[test]
    fn all_threads_share_a_gpus_queue() {
        for backend in Backend::ALL {
            backend.devices();
        }
        assert_eq!(policy(), StreamPolicy::Single);
    }
}
