//! Pictures that show where the harm is.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::ImageFormat;
use safevlm::{RgbImage, SafeVlm};
use safevlm_data::{DataError, write_whole};

use super::{Heat, Judged};
use crate::error::CliError;

/// Where the picture of each file goes.
pub(crate) struct Pictures(HashMap<PathBuf, PathBuf>);

impl Pictures {
    /// `to` is a .png for the one file, or a folder, in which `photo.jpg` becomes `photo.heat.png`.
    pub(crate) fn plan(to: &Path, files: &[PathBuf]) -> Result<Self, CliError> {
        let one = !to.is_dir() && to.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
        let pictures = match (one, files) {
            (true, [file]) => HashMap::from([(file.clone(), to.to_path_buf())]),
            (true, [_, _, ..]) => {
                let (to, many) = (to.display(), files.len());
                return Err(CliError::Input(format!(
                    "`{to}` is one picture for {many} images; name a folder with `--heatmap`"
                )));
            }
            _ => in_folder(to, files),
        };
        // Links and `..` name one file in several ways.
        let known: HashSet<PathBuf> = files.iter().filter_map(|file| fs::canonicalize(file).ok()).collect();
        let replaced =
            pictures.values().find(|picture| fs::canonicalize(picture).is_ok_and(|path| known.contains(&path)));
        match replaced {
            Some(picture) => Err(CliError::Input(format!(
                "the heat map would replace the image `{}`; name another place with `--heatmap`",
                picture.display()
            ))),
            None => Ok(Self(pictures)),
        }
    }

    /// Judges one image, and draws where its harm is.
    pub(crate) fn judge(&self, model: &SafeVlm, file: &Path, image: &RgbImage) -> Result<Judged, CliError> {
        let map = model.heatmap(image)?;
        let picture = self.0.get(file).cloned().unwrap_or_default();
        let failed = |source| DataError::Io { doing: "write", path: picture.clone(), source };
        let mut png = Cursor::new(Vec::new());
        map.draw(image).write_to(&mut png, ImageFormat::Png).map_err(|error| failed(std::io::Error::other(error)))?;
        write_whole(&picture, |out| out.write_all(png.get_ref()).map_err(failed))?;
        Ok(Judged { verdict: map.verdict.clone(), heat: Some(Heat { picture, map }) })
    }
}

/// A name in `folder` for each file; of files that are called alike the second gets a 2.
fn in_folder(folder: &Path, files: &[PathBuf]) -> HashMap<PathBuf, PathBuf> {
    let mut taken = HashSet::new();
    let mut pictures = HashMap::new();
    for file in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let names =
            (1..).map(|nth| if nth == 1 { format!("{stem}.heat.png") } else { format!("{stem}-{nth}.heat.png") });
        let free = names.map(|name| folder.join(name)).find(|name| !taken.contains(name));
        if let (false, Some(name)) = (pictures.contains_key(file), free) {
            taken.insert(name.clone());
            pictures.insert(file.clone(), name);
        }
    }
    pictures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(to: &Path, files: &[&Path]) -> Result<Vec<PathBuf>, String> {
        let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
        let pictures = Pictures::plan(to, &files).map_err(|error| error.to_string())?;
        Ok(files.iter().map(|file| pictures.0[file].clone()).collect())
    }

    #[test]
    fn one_image_has_one_picture_and_several_have_a_folder() {
        let (a, b, c) = (Path::new("x/a.jpg"), Path::new("y/a.png"), Path::new("y/a-2.png"));
        assert_eq!(plan(Path::new("where.PNG"), &[a]).unwrap(), [Path::new("where.PNG")]);
        let names = ["to/a.heat.png", "to/a-2.heat.png", "to/a-2-2.heat.png"].map(PathBuf::from);
        assert_eq!(plan(Path::new("to"), &[a, b, c]).unwrap(), names);
        assert!(plan(Path::new("where.png"), &[a, b]).unwrap_err().contains("name a folder"));
    }

    #[test]
    fn an_image_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (a, heat) = (folder.path().join("a.png"), folder.path().join("a.heat.png"));
        for file in [&a, &heat] {
            fs::write(file, "").unwrap();
        }
        let around = folder.path().join("../").join(folder.path().file_name().unwrap()).join("a.png");
        assert!(plan(&around, &[&a]).unwrap_err().contains("would replace"));
        assert!(plan(folder.path(), &[&a, &heat]).unwrap_err().contains("would replace"));
        plan(folder.path(), &[&a]).unwrap();
    }
}
