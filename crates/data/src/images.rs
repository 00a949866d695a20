//! Where the pictures of rows are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tar::Archive;

use crate::error::DataError;

/// A picture's file may have this many bytes.
pub(crate) const PICTURE_LIMIT: u64 = 64 << 20;

/// An archive may have this many pictures.
const MEMBER_LIMIT: usize = 10_000_000;

/// Pictures by their names in rows.
#[derive(Debug)]
pub enum ImageStore {
    /// Files below a folder.
    Folder(PathBuf),
    /// Members of a tar, which stays packed: it is read where a picture stands.
    Tar(TarImages),
}

/// The pictures of a tar.
#[derive(Debug)]
pub struct TarImages {
    path: PathBuf,
    file: Mutex<File>,
    /// Where a member's bytes begin, and how many they are.
    members: HashMap<String, (u64, u64)>,
}

impl ImageStore {
    /// Opens a folder or an uncompressed tar.
    ///
    /// # Errors
    /// When there is none, or it is compressed or damaged.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let read = DataError::io("read", path);
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => Ok(Self::Folder(path.to_path_buf())),
            Ok(_) => TarImages::open(path).map(Self::Tar),
            Err(error) => Err(read(error)),
        }
    }

    /// The bytes of the picture that a row calls `name`.
    ///
    /// # Errors
    /// When it is not there, cannot be read, is larger than any picture should be, or lies outside the folder.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, DataError> {
        match self {
            Self::Folder(folder) => read_file(folder, name),
            Self::Tar(tar) => tar.read(name),
        }
    }

    /// Where the pictures are.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Tar(tar) => &tar.path,
        }
    }
}

fn read_file(folder: &Path, name: &str) -> Result<Vec<u8>, DataError> {
    let path = folder.join(name);
    let missing = || DataError::NoImage { name: name.to_string(), path: folder.to_path_buf() };
    let unreadable = |error| DataError::io("read", &path)(error);
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(unreadable(error)),
    };
    // A link in a data set must not show files from outside it, nor a pipe hold it up.
    if !real.starts_with(folder.canonicalize().map_err(unreadable)?) || !real.is_file() {
        return Err(missing());
    }
    let file = File::open(&real).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(PICTURE_LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > PICTURE_LIMIT {
        true => Err(unreadable(too_large())),
        false => Ok(bytes),
    }
}

fn too_large() -> io::Error {
    io::Error::other(format!("it has more than {PICTURE_LIMIT} bytes"))
}

impl TarImages {
    fn open(path: &Path) -> Result<Self, DataError> {
        let mut file = File::open(path).map_err(DataError::io("read", path))?;
        let mut magic = [0; 2];
        let packed =
            file.read_exact(&mut magic).is_ok() && (magic == [0x1F, 0x8B] || magic == *b"BZ" || magic == [0x28, 0xB5]);
        if packed {
            return Err(DataError::PackedTar { path: path.to_path_buf() });
        }
        let members = index(&mut file).map_err(|error| DataError::BadFile {
            path: path.to_path_buf(),
            row: 0,
            reason: format!("it is not a whole tar archive ({error})"),
        })?;
        Ok(Self { path: path.to_path_buf(), file: Mutex::new(file), members })
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DataError> {
        let (start, length) = *self
            .members
            .get(name)
            .ok_or_else(|| DataError::NoImage { name: name.to_string(), path: self.path.clone() })?;
        let unreadable = DataError::io("read", &self.path);
        if length > PICTURE_LIMIT {
            return Err(unreadable(too_large()));
        }
        // A thread that panicked while it held the file left at most another position.
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut bytes = vec![0; length as usize];
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(unreadable)?;
        Ok(bytes)
    }
}

/// The plain files of an archive, without a leading `images/`, as rows name them.
fn index(file: &mut File) -> io::Result<HashMap<String, (u64, u64)>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut members = HashMap::new();
    for entry in Archive::new(file).entries_with_seek()? {
        let entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let Ok(name) = std::str::from_utf8(&entry.path_bytes()).map(str::to_owned) else { continue };
        let name = name.trim_start_matches("./");
        let name = name.strip_prefix("images/").unwrap_or(name).to_owned();
        if members.len() == MEMBER_LIMIT {
            return Err(io::Error::other(format!("it has more than {MEMBER_LIMIT} files")));
        }
        let (start, size) = (entry.raw_file_position(), entry.size());
        if start.checked_add(size).is_none_or(|end| end > length) {
            return Err(io::Error::other("it was cut off"));
        }
        members.insert(name, (start, size));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_tar_gives_what_a_folder_gives() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("images");
        std::fs::create_dir_all(folder.join("hate/race")).unwrap();
        std::fs::write(folder.join("hate/race/a.png"), "one").unwrap();
        let path = place.path().join("images.tar");
        std::fs::write(&path, tar_of(&[("images/hate/race/a.png", b"one"), ("b.png", b"two")])).unwrap();
        for store in [ImageStore::open(&folder).unwrap(), ImageStore::open(&path).unwrap()] {
            assert_eq!(store.read("hate/race/a.png").unwrap(), b"one");
            assert!(matches!(store.read("hate/race/c.png"), Err(DataError::NoImage { .. })));
        }
        let ImageStore::Tar(tar) = ImageStore::open(&path).unwrap() else { panic!("a tar") };
        assert_eq!(tar.read("b.png").unwrap(), b"two");
    }

    #[test]
    fn what_is_no_tar_is_refused_with_the_remedy() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("images.tar");
        let whole = tar_of(&[("a.png", &[7; 2000])]);
        for bytes in [&b"no archive at all, but long enough to have a header"[..], &whole[..1500], &[0xFF; 4096]] {
            std::fs::write(&path, bytes).unwrap();
            let error = ImageStore::open(&path).unwrap_err();
            assert!(error.is_bad_input() && error.to_string().contains("images.tar"), "{error}");
        }
        std::fs::write(&path, [0x1F, 0x8B, 8, 0]).unwrap();
        assert!(ImageStore::open(&path).unwrap_err().to_string().contains("unpack"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_shows_nothing_from_outside() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("images");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(place.path().join("secret.png"), "secret").unwrap();
        std::fs::write(folder.join("a.png"), "picture").unwrap();
        std::os::unix::fs::symlink(place.path().join("secret.png"), folder.join("b.png")).unwrap();
        std::os::unix::fs::symlink("a.png", folder.join("c.png")).unwrap();
        let store = ImageStore::open(&folder).unwrap();
        assert!(matches!(store.read("b.png"), Err(DataError::NoImage { .. })));
        assert_eq!(store.read("c.png").unwrap(), b"picture");
    }
}
