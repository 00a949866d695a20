//! Where downloads, imported models and data sets live on disk.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::WeightsError;

/// The environment variable that moves the cache.
pub const HOME_VARIABLE: &str = "SAFEVLM_HOME";

/// The cache folder: `downloads/` (verified archives and files), `models/NAME/` (imported models)
/// and `data/` (composed or converted data sets). Everything in it can be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Names the cache at `root`, or at `SAFEVLM_HOME`, or in the platform's cache folder.
    /// Nothing is created before something is stored.
    ///
    /// # Errors
    /// When no root is given and neither `SAFEVLM_HOME` nor the platform's variables say where to put it.
    pub fn open(root: Option<&Path>) -> Result<Self, WeightsError> {
        let root = match root {
            Some(root) => root.to_path_buf(),
            None => default_root(|name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)).ok_or_else(
                || WeightsError::NotFound {
                    path: PathBuf::from("the platform's cache folder"),
                    remedy: format!("set {HOME_VARIABLE} to a folder for SafeVLM's files"),
                },
            )?,
        };
        Ok(Self { root })
    }

    /// The folder that holds everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Verified downloads, one folder per package or repository.
    pub fn downloads(&self) -> PathBuf {
        self.root.join("downloads")
    }

    /// Imported models, one folder per model.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The folder of the model `name`, whether or not it exists.
    pub fn model_dir(&self, name: &str) -> PathBuf {
        self.models().join(name)
    }

    /// Data sets.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }
}

/// The default cache folder, from environment variables as `variable` gives them.
fn default_root(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if let Some(home) = variable(HOME_VARIABLE) {
        return Some(home);
    }
    let base = if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Caches"))
    } else if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else {
        // The XDG specification says that a relative path is to be ignored.
        variable("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
    };
    base.map(|base| base.join("safevlm"))
}

/// Creates `dir` and its parents.
pub(crate) fn create_dir(dir: &Path) -> Result<(), WeightsError> {
    fs::create_dir_all(dir).map_err(WeightsError::io("create", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safevlm_home_wins_over_the_platform_folder() {
        let root = default_root(|name| match name {
            HOME_VARIABLE => Some("/a".into()),
            _ => Some("/b".into()),
        });
        assert_eq!(root, Some("/a".into()));
    }

    #[test]
    fn without_any_variable_there_is_no_default() {
        assert_eq!(default_root(|_| None), None);
    }

    #[test]
    #[cfg(all(unix, not(target_os = "macos")))]
    fn a_relative_xdg_folder_is_ignored() {
        let root = default_root(|name| match name {
            "XDG_CACHE_HOME" => Some("relative".into()),
            "HOME" => Some("/home/someone".into()),
            _ => None,
        });
        assert_eq!(root, Some("/home/someone/.cache/safevlm".into()));
    }

    #[test]
    fn a_cache_below_a_regular_file_says_what_to_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = create_dir(&file.path().join("cache")).unwrap_err().to_string();
        assert!(error.contains(HOME_VARIABLE), "{error}");
    }
}
