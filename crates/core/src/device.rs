//! Which device computes. The only place that names a backend.
//!
//! Burn opens devices lazily and panics on first use when one is not there, and its own default
//! does not probe. So a device is looked up here first: what this build contains, then what this
//! machine has, and both can fail with an error that says what to do.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

mod backend;

use backend::Backend;

/// The device that a user asks for, or (from [`DeviceSpec::open`]) the one that was opened.
///
/// The text form is `auto`, `flex` (also `cpu`), or one of `wgpu`, `vulkan`, `metal`, `cuda` with an
/// optional `:N`, the place in [`available`]'s list of that backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceSpec {
    /// The first real GPU of `cuda`, `metal`, `vulkan`, `wgpu` that is compiled in and present, else
    /// `flex`. Software adapters (lavapipe, llvmpipe) are slower than `flex` and are passed over.
    #[default]
    Auto,
    /// Burn's pure-Rust CPU backend.
    Flex,
    /// Any graphics API through wgpu, with portable shaders.
    Wgpu(Option<usize>),
    /// Vulkan with SPIR-V shaders.
    Vulkan(Option<usize>),
    /// Apple's Metal.
    Metal(Option<usize>),
    /// NVIDIA's CUDA.
    Cuda(Option<usize>),
}

/// A device that this build can use on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailableDevice {
    /// The device's name for `--device`, with its index.
    pub spec: DeviceSpec,
    /// What it is, for people.
    pub kind: DeviceClass,
}

impl fmt::Display for AvailableDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.spec, self.kind)
    }
}

/// What sort of hardware is behind a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceClass {
    /// The CPU itself.
    Cpu,
    /// A GPU: a card, one that shares the CPU's memory, or one passed into a virtual machine.
    Gpu,
    /// A GPU's interface computed by the CPU.
    SoftwareAdapter,
    /// An adapter that the driver does not classify.
    Unclassified,
}

impl fmt::Display for DeviceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceClass::Cpu => "CPU",
            DeviceClass::Gpu => "GPU",
            DeviceClass::SoftwareAdapter => "software adapter",
            DeviceClass::Unclassified => "unclassified adapter",
        })
    }
}

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The text names no backend that SafeVLM knows.
    #[error("unknown device `{given}`; use one of auto, flex, cpu, wgpu[:N], vulkan[:N], metal[:N], cuda[:N]")]
    Unknown {
        /// What was given.
        given: String,
    },
    /// What follows the colon is no index, or the backend has none.
    #[error(
        "device `{given}` has a bad index; write the backend alone or with a number, as in `cuda:0`, and `flex` without one"
    )]
    BadIndex {
        /// What was given.
        given: String,
    },
    /// The backend was left out of this build.
    #[error(
        "device `{device}` is not compiled into this program; build it again with \
         `--features {feature}`, or use one of: {compiled}"
    )]
    NotCompiledIn {
        /// The device that was asked for.
        device: DeviceSpec,
        /// The Cargo feature that brings it.
        feature: &'static str,
        /// What this build has, separated by commas.
        compiled: String,
    },
    /// The backend is compiled in, but this machine has no such device.
    #[error("device `{device}` was not found on this machine; use one of: {present}")]
    NotPresent {
        /// The device that was asked for.
        device: DeviceSpec,
        /// The devices that are there, separated by commas.
        present: String,
    },
    /// `auto` found nothing: no GPU, and a build without the CPU backend.
    #[error(
        "no device can be used: no GPU was found and this program is built without `flex`; build it again with `--features flex`"
    )]
    Nothing,
}

/// Every device that this build can use on this machine, in the order in which `auto` tries them.
pub fn available() -> Vec<AvailableDevice> {
    let mut all = Vec::new();
    for backend in Backend::ALL {
        for (index, (_, kind)) in backend.devices().into_iter().enumerate() {
            all.push(AvailableDevice { spec: backend.spec(Some(index)), kind });
        }
    }
    all
}

impl DeviceSpec {
    /// Finds the device and returns it with its exact name: `auto` becomes what was chosen, and a
    /// GPU backend without an index gets the one that was taken (a real GPU before a software one).
    ///
    /// # Errors
    ///
    /// [`DeviceError::NotCompiledIn`] or [`DeviceError::NotPresent`]; for `auto`
    /// [`DeviceError::Nothing`] in a build without `flex` on a machine without a GPU.
    pub fn open(&self) -> Result<(Device, DeviceSpec), DeviceError> {
        let Some((backend, index)) = self.parts() else {
            return open_best();
        };
        if !backend.compiled_in() {
            return Err(DeviceError::NotCompiledIn {
                device: *self,
                feature: backend.name(),
                compiled: join(Backend::ALL.iter().filter(|b| b.compiled_in()).map(|b| b.name())),
            });
        }
        let devices = backend.devices();
        let index = index.or_else(|| {
            let gpu = devices.iter().position(|(_, kind)| *kind == DeviceClass::Gpu);
            Some(gpu.unwrap_or(0))
        });
        index
            .and_then(|index| devices.into_iter().nth(index))
            .map(|(device, _)| (device, backend.spec(index)))
            .ok_or_else(|| DeviceError::NotPresent { device: *self, present: join(available()) })
    }

    fn parts(self) -> Option<(Backend, Option<usize>)> {
        match self {
            DeviceSpec::Auto => None,
            DeviceSpec::Flex => Some((Backend::Flex, None)),
            DeviceSpec::Wgpu(index) => Some((Backend::Wgpu, index)),
            DeviceSpec::Vulkan(index) => Some((Backend::Vulkan, index)),
            DeviceSpec::Metal(index) => Some((Backend::Metal, index)),
            DeviceSpec::Cuda(index) => Some((Backend::Cuda, index)),
        }
    }
}

/// The first real GPU, else the CPU.
fn open_best() -> Result<(Device, DeviceSpec), DeviceError> {
    for backend in Backend::ALL {
        for (index, (device, class)) in backend.devices().into_iter().enumerate() {
            if matches!(class, DeviceClass::Gpu | DeviceClass::Cpu) {
                return Ok((device, backend.spec(Some(index))));
            }
        }
    }
    Err(DeviceError::Nothing)
}

fn join(items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            None => f.write_str("auto"),
            Some((backend, None)) => f.write_str(backend.name()),
            Some((backend, Some(index))) => write!(f, "{}:{index}", backend.name()),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(given: &str) -> Result<Self, DeviceError> {
        let text = given.trim().to_ascii_lowercase();
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index)),
            None => (text.as_str(), None),
        };
        let bad_index = || DeviceError::BadIndex { given: given.to_owned() };
        let backend = match name {
            "auto" if index.is_none() => return Ok(DeviceSpec::Auto),
            "auto" => return Err(bad_index()),
            "cpu" => Some(Backend::Flex),
            _ => Backend::ALL.into_iter().find(|backend| backend.name() == name),
        };
        let backend = backend.ok_or_else(|| DeviceError::Unknown { given: given.to_owned() })?;
        match (backend, index) {
            (Backend::Flex, Some(_)) => Err(bad_index()),
            (_, None) => Ok(backend.spec(None)),
            (_, Some(index)) => index.parse().map(|index| backend.spec(Some(index))).map_err(|_| bad_index()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_round_trips() {
        for text in ["auto", "flex", "wgpu", "wgpu:0", "vulkan:1", "metal", "cuda:12"] {
            assert_eq!(text.parse::<DeviceSpec>().unwrap().to_string(), text);
        }
        assert_eq!("cpu".parse(), Ok(DeviceSpec::Flex));
        assert_eq!(" CUDA:1 ".parse(), Ok(DeviceSpec::Cuda(Some(1))));
        assert_eq!(DeviceSpec::default(), DeviceSpec::Auto);
    }

    #[test]
    fn bad_names_and_indices_are_told_apart() {
        for text in ["", "gpu", "tpu:0", ":0", "cuda0"] {
            assert!(matches!(text.parse::<DeviceSpec>(), Err(DeviceError::Unknown { .. })), "{text}");
        }
        for text in ["cuda:", "cuda:x", "wgpu:-1", "flex:0", "cpu:1", "auto:0", "cuda:99999999999999999999"] {
            assert!(matches!(text.parse::<DeviceSpec>(), Err(DeviceError::BadIndex { .. })), "{text}");
        }
    }

    #[test]
    #[cfg(feature = "flex")]
    fn flex_opens_and_is_listed() {
        let (device, spec) = DeviceSpec::Flex.open().unwrap();
        assert_eq!((device, spec), (Device::flex(), DeviceSpec::Flex));
        assert_eq!(available().last().unwrap().to_string(), "flex (CPU)");
    }

    #[test]
    #[cfg(feature = "flex")]
    fn auto_always_finds_something_and_never_a_software_adapter() {
        let (_, spec) = DeviceSpec::Auto.open().unwrap();
        let chosen = available().into_iter().find(|device| device.spec == spec).unwrap();
        assert!(matches!(chosen.kind, DeviceClass::Gpu | DeviceClass::Cpu));
    }

    #[test]
    fn every_other_backend_opens_or_says_why_not() {
        for name in ["wgpu", "vulkan", "metal", "cuda"] {
            for text in [name.to_owned(), format!("{name}:0"), format!("{name}:4096")] {
                let spec: DeviceSpec = text.parse().unwrap();
                match spec.open() {
                    Ok((_, opened)) => assert!(opened.to_string().starts_with(name)),
                    Err(error @ DeviceError::NotCompiledIn { .. }) => {
                        let message = error.to_string();
                        assert!(message.contains(&format!("`{text}`")), "{message}");
                        assert!(message.contains(&format!("--features {name}")), "{message}");
                    }
                    Err(error @ DeviceError::NotPresent { .. }) => {
                        assert!(error.to_string().contains(&format!("`{text}`")));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            let spec: DeviceSpec = format!("{name}:4096").parse().unwrap();
            assert!(spec.open().is_err());
        }
    }
}
