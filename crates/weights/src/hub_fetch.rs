//! Files of hub repositories in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use crate::archive;
use crate::atomic::{parent, sync_dir, sync_file};
use crate::cache::create_dir;
use crate::digest::{check_pin, sha256_file};
use crate::error::WeightsError;
use crate::fetch::{Fetcher, MANIFEST, PARTIAL, PinnedFile, lock};
use crate::hub::{Hub, HubFile, Listing};
use crate::manifest::Manifest;
use crate::progress::Progress;
use crate::source::Source;

/// Picks the names of the files that are wanted.
pub(crate) type Choose<'a> = dyn Fn(&[String]) -> Result<Vec<String>, WeightsError> + 'a;

impl Fetcher {
    /// The verified file of a hub repository. A branch is resolved once: later files come from
    /// the same commit, so that they fit together.
    pub(crate) fn hub_file(&self, file: &PinnedFile) -> Result<PathBuf, WeightsError> {
        let folder = self.folder(&file.source)?;
        let _lock = lock(&folder)?;
        let mut manifest = Manifest::read(&folder.join(MANIFEST));
        if let Some(path) = cached(&folder, &mut manifest, file)? {
            return Ok(path);
        }
        let hub = Hub::from_env(&self.environment)?;
        let listing = self.list(&hub, &file.source, &mut manifest)?;
        self.download(&hub, &folder, &mut manifest, &listing, file)
    }

    /// The files that `choose` picks from the listing of a hub repository, by name. Nothing is
    /// asked of the network when the cache holds an earlier choice in full.
    pub(crate) fn hub_files(
        &self,
        source: &Source,
        choose: &Choose<'_>,
    ) -> Result<Vec<(String, PathBuf)>, WeightsError> {
        let folder = self.folder(source)?;
        let _lock = lock(&folder)?;
        let mut manifest = Manifest::read(&folder.join(MANIFEST));
        if let Some(names) = manifest.chosen.clone() {
            let mut found = Vec::new();
            for name in names {
                let file = PinnedFile::new(source.clone(), &name);
                match cached(&folder, &mut manifest, &file)? {
                    Some(path) => found.push((name, path)),
                    None => break,
                }
            }
            if Some(found.len()) == manifest.chosen.as_ref().map(Vec::len) {
                return Ok(found);
            }
        }
        let hub = Hub::from_env(&self.environment)?;
        let listing = self.list(&hub, source, &mut manifest)?;
        let names: Vec<String> = listing.files.keys().cloned().collect();
        let chosen = choose(&names)?;
        let mut found = Vec::new();
        for name in &chosen {
            let file = PinnedFile::new(source.clone(), name);
            let path = match cached(&folder, &mut manifest, &file)? {
                Some(path) => path,
                None => self.download(&hub, &folder, &mut manifest, &listing, &file)?,
            };
            found.push((name.clone(), path));
        }
        manifest.chosen = Some(chosen);
        manifest.write(&folder.join(MANIFEST))?;
        Ok(found)
    }

    fn list(&self, hub: &Hub, source: &Source, manifest: &mut Manifest) -> Result<Listing, WeightsError> {
        let Source::Hf { repo, revision } = source else {
            return Err(WeightsError::BadSource {
                text: source.to_string(),
                reason: "it is not a hub repository".to_string(),
            });
        };
        let listing = hub.list(repo, manifest.commit.as_ref().unwrap_or(revision))?;
        manifest.commit = Some(listing.commit.clone());
        Ok(listing)
    }

    fn download(
        &self,
        hub: &Hub,
        folder: &Path,
        manifest: &mut Manifest,
        listing: &Listing,
        file: &PinnedFile,
    ) -> Result<PathBuf, WeightsError> {
        let (source, member) = (&file.source, &file.member);
        let Source::Hf { repo, .. } = source else {
            return Err(WeightsError::BadSource {
                text: source.to_string(),
                reason: "it is not a hub repository".to_string(),
            });
        };
        let known =
            listing.files.get(member).filter(|_| archive::is_inside(member)).ok_or_else(|| WeightsError::Download {
                what: format!("{member} of {source}"),
                reason: "the repository has no such file; check the name".to_string(),
            })?;
        let name = format!("files/{member}");
        let target = folder.join(&name);
        // The commit keeps bytes of different versions apart.
        let flat = format!("{}.{}", member.replace('/', "+"), listing.commit);
        let partial = folder.join(PARTIAL).join(flat);
        create_dir(parent(&partial))?;
        create_dir(parent(&target))?;
        let bar = |known: &HubFile| Progress::bytes(self.progress, format!("downloading {member}"), known.size);
        // Bytes left by a killed or crashed process may be damaged; then one fresh start is due.
        let mut resumed = partial.exists();
        let (sha256, size) = loop {
            hub.download(repo, &listing.commit, member, known, &partial, &bar(known))?;
            let (sha256, size) = sha256_file(&partial)?;
            let found = (sha256.as_str(), size);
            let checked = check_pin(&target, found, known.sha256.as_deref(), known.size)
                .and_then(|()| check_pin(&target, found, file.sha256.as_deref(), file.size));
            match checked {
                Ok(()) => break (sha256, size),
                Err(error) => {
                    let _ = fs::remove_file(&partial);
                    if !std::mem::take(&mut resumed) {
                        return Err(error);
                    }
                }
            }
        };
        sync_file(&partial)?;
        fs::rename(&partial, &target).map_err(WeightsError::io("write", &target))?;
        sync_dir(parent(&target));
        manifest.record(folder, &name, sha256, size);
        manifest.write(&folder.join(MANIFEST))?;
        Ok(target)
    }
}

/// The file, if the cache holds it as it was verified and as it is pinned now.
fn cached(folder: &Path, manifest: &mut Manifest, file: &PinnedFile) -> Result<Option<PathBuf>, WeightsError> {
    let name = format!("files/{}", file.member);
    if !manifest.holds(folder, &name)? {
        return Ok(None);
    }
    let path = folder.join(&name);
    let record = &manifest.files[&name];
    let found = (record.sha256.as_str(), record.size);
    check_pin(&path, found, file.sha256.as_deref(), file.size)?;
    Ok(Some(path))
}
