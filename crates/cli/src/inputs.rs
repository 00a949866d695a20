//! The image files behind `guard`'s arguments.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// What a file in a folder must be called to be taken for an image.
const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "webp", "gif", "bmp"];

/// Every file that `arguments` name, in their order: files as they are, folders with all images below
/// them by name, and patterns with `*`, `?` or `[...]` for shells that leave them alone. What cannot
/// be used comes back as errors; the rest is still there.
pub(crate) fn expand(arguments: &[PathBuf]) -> (Vec<PathBuf>, Vec<CliError>) {
    let mut found = Found::default();
    for argument in arguments {
        if argument.is_dir() {
            found.folder_given(argument);
        } else if argument.exists() {
            found.files.push(argument.clone());
        } else {
            found.pattern_or_missing(argument);
        }
    }
    (found.files, found.errors)
}

#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    errors: Vec<CliError>,
}

impl Found {
    fn error(&mut self, message: String) {
        self.errors.push(CliError::Input(message));
    }

    fn folder_given(&mut self, folder: &Path) {
        let before = (self.files.len(), self.errors.len());
        self.folder(folder);
        if before == (self.files.len(), self.errors.len()) {
            let known = EXTENSIONS.join(", ");
            self.error(format!("folder `{}` has no image; it needs files that end in {known}", folder.display()));
        }
    }

    /// Adds the images of a folder and of those in it. Links to folders are not followed: they could
    /// lead back.
    fn folder(&mut self, folder: &Path) {
        let mut entries = Vec::new();
        match fs::read_dir(folder) {
            Ok(listing) => entries.extend(listing.filter_map(Result::ok)),
            Err(error) => {
                self.error(format!("cannot list folder `{}` ({error}); check its permissions", folder.display()));
            }
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.folder(&path),
                Ok(_) if is_image(&path) && !path.is_dir() => self.files.push(path),
                _ => {}
            }
        }
    }

    fn pattern_or_missing(&mut self, argument: &Path) {
        let text = argument.to_string_lossy();
        if !text.contains(['*', '?', '[']) {
            return self.error(format!("`{text}` does not exist; give an image, a folder or a pattern"));
        }
        let matches = match glob::glob(&text) {
            Ok(matches) => matches,
            Err(error) => return self.error(format!("`{text}` is no pattern ({}); check its brackets", error.msg)),
        };
        let before = (self.files.len(), self.errors.len());
        for path in matches.filter_map(Result::ok) {
            if path.is_dir() {
                self.folder(&path);
            } else {
                self.files.push(path);
            }
        }
        if before == (self.files.len(), self.errors.len()) {
            self.error(format!("no image matches `{text}`; check the pattern"));
        }
    }
}

fn is_image(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn expand_in(folder: &Path, arguments: &[&str]) -> (Vec<String>, Vec<String>) {
        let arguments: Vec<PathBuf> = arguments.iter().map(|argument| folder.join(argument)).collect();
        let (files, errors) = expand(&arguments);
        let files =
            files.iter().map(|file| file.strip_prefix(folder).unwrap().display().to_string().replace('\\', "/"));
        (files.collect(), errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn folders_give_their_images_in_order_and_files_are_taken_as_they_are() {
        let folder = folder_of(&["b/z.JPG", "b/a/y.webp", "b/notes.txt", "a.png", "list.txt"]);
        let (files, errors) = expand_in(folder.path(), &["list.txt", "b", "a.png"]);
        assert_eq!(files, ["list.txt", "b/a/y.webp", "b/z.JPG", "a.png"]);
        assert_eq!(errors, [""; 0]);
    }

    #[test]
    fn patterns_are_expanded_unless_a_file_is_called_so() {
        let folder = folder_of(&["a1.png", "a2.png", "b[1].png", "c/d.png"]);
        let (files, errors) = expand_in(folder.path(), &["a?.png", "b[1].png", "*/"]);
        assert_eq!(files, ["a1.png", "a2.png", "b[1].png", "c/d.png"]);
        assert_eq!(errors, [""; 0]);
    }

    #[test]
    fn what_is_not_there_is_an_error_and_the_rest_remains() {
        let folder = folder_of(&["a.png", "empty/notes.txt"]);
        let (files, errors) = expand_in(folder.path(), &["missing.png", "x*.png", "a[.png", "empty", "a.png"]);
        assert_eq!(files, ["a.png"]);
        for (error, wanted) in errors.iter().zip(["does not exist", "no image matches", "no pattern", "has no image"]) {
            assert!(error.contains(wanted), "{error}");
        }
        assert_eq!(errors.len(), 4);
    }

    #[test]
    #[cfg(unix)]
    fn links_to_folders_are_not_followed() {
        let folder = folder_of(&["a.png"]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop.png")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("a.png"), folder.path().join("link.png")).unwrap();
        assert_eq!(expand_in(folder.path(), &["."]).0.len(), 2);
    }
}
