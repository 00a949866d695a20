//! Reads the pictures that the labels name out of a vendor's tarball.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::{Art, ArtSource, Layout, Vendor};
use crate::error::DataError;
use crate::labels::{PISTOL, Symbol};

/// The largest member of the pinned packages has 25 MB, all members of one together 120 MB.
const MAX_MEMBER_BYTES: u64 = 64 << 20;
const MAX_ARCHIVE_BYTES: u64 = 512 << 20;
/// Unicode's names of the five skin tones, light to dark.
const TONES: [&str; 5] = ["light", "medium-light", "medium", "medium-dark", "dark"];

/// Iconify's `icons.json`.
#[derive(Deserialize)]
struct IconSet {
    icons: HashMap<String, Icon>,
    #[serde(default)]
    aliases: HashMap<String, Alias>,
    #[serde(default = "default_side")]
    width: f32,
    #[serde(default = "default_side")]
    height: f32,
}

#[derive(Deserialize)]
struct Icon {
    body: String,
    width: Option<f32>,
    height: Option<f32>,
}

#[derive(Deserialize)]
struct Alias {
    parent: String,
}

/// Iconify's default size of an icon.
fn default_side() -> f32 {
    16.0
}

/// The pictures of every symbol in `symbols` that the archive holds; the index is the symbol's.
pub(crate) fn read_pack(
    vendor: &'static Vendor,
    archive: &Path,
    symbols: &[&'static Symbol],
) -> Result<Vec<Vec<Art>>, DataError> {
    let bad = |reason: String| DataError::BadPack { path: archive.to_path_buf(), reason };
    let drawn = |symbol: &Symbol| symbol.code != PISTOL || vendor.real_pistol;
    match vendor.layout {
        Layout::OpenMoji | Layout::WebP => {
            let files = by_code(vendor, archive)?;
            let find = |symbol: &&'static Symbol| {
                let codes = if drawn(symbol) { toned_codes(symbol) } else { Vec::new() };
                codes
                    .into_iter()
                    .filter_map(|(tone, code)| Some((tone, files.get(&code)?.clone())))
                    .map(|(tone, bytes)| match vendor.layout {
                        Layout::WebP => Ok(Art::new(vendor, tone, false, ArtSource::WebP(bytes))),
                        _ => String::from_utf8(bytes)
                            .map(|svg| Art::new(vendor, tone, false, ArtSource::Svg(svg)))
                            .map_err(|_| bad(format!("the picture of {} is not UTF-8", symbol.key()))),
                    })
                    .collect::<Result<Vec<_>, _>>()
            };
            symbols.iter().map(find).collect()
        }
        Layout::Iconify | Layout::Fxemoji | Layout::GameIcons => {
            let (set, chars) = icon_set(archive)?;
            let find = |symbol: &&'static Symbol| {
                let mut names = match vendor.layout {
                    Layout::Fxemoji => plain(symbol.fx),
                    Layout::GameIcons => plain(symbol.game),
                    _ => iconify_names(symbol, &chars, &set),
                };
                names.retain(|_| drawn(symbol));
                let mono = vendor.layout == Layout::GameIcons;
                names
                    .iter()
                    .filter_map(|(tone, name)| Some((*tone, set.document(name)?)))
                    .map(|(tone, svg)| Art::new(vendor, tone, mono, ArtSource::Svg(svg)))
                    .collect()
            };
            Ok(symbols.iter().map(find).collect())
        }
    }
}

impl IconSet {
    fn icon(&self, name: &str) -> Option<&Icon> {
        let alias = || self.icons.get(&self.aliases.get(name)?.parent);
        self.icons.get(name).or_else(alias)
    }

    /// The icon as an SVG document of its own.
    fn document(&self, name: &str) -> Option<String> {
        let icon = self.icon(name)?;
        let (width, height) = (icon.width.unwrap_or(self.width), icon.height.unwrap_or(self.height));
        Some(format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" height="{height}" viewBox="0 0 {width} {height}">{}</svg>"#,
            icon.body
        ))
    }
}

fn plain(names: &str) -> Vec<(u8, String)> {
    names.split_whitespace().map(|name| (0, name.to_string())).collect()
}

/// The code points of a symbol, and those with each skin tone where it has them.
fn toned_codes(symbol: &Symbol) -> Vec<(u8, String)> {
    if symbol.code.is_empty() {
        return Vec::new();
    }
    let mut codes = vec![(0, symbol.code.to_string())];
    if symbol.toned {
        let (first, rest) = match symbol.code.split_once('-') {
            Some((first, rest)) => (first, format!("-{rest}")),
            None => (symbol.code, String::new()),
        };
        // U+1F3FB to U+1F3FF follow the first code point.
        codes.extend((1..=5u8).map(|tone| (tone, format!("{first}-1f3f{:x}{rest}", 10 + tone))));
    }
    codes
}

/// The names under which a set has the symbol: by code point where the set lists them, else by
/// Unicode's name, with skin tones, or with a number where there are several designs.
fn iconify_names(symbol: &Symbol, chars: &HashMap<String, String>, set: &IconSet) -> Vec<(u8, String)> {
    let mut names: Vec<(u8, String)> =
        toned_codes(symbol).into_iter().filter_map(|(tone, code)| Some((tone, chars.get(&code)?.clone()))).collect();
    if names.is_empty() && !symbol.slug.is_empty() {
        names.push((0, symbol.slug.to_string()));
        if symbol.toned {
            let toned = |(i, tone): (usize, &&str)| (i as u8 + 1, format!("{}-{tone}-skin-tone", symbol.slug));
            names.extend(TONES.iter().enumerate().map(toned));
        }
        names.extend((1..=3).map(|n| (0, format!("{}-{n}", symbol.slug))));
        names.retain(|(_, name)| set.icon(name).is_some());
    }
    names
}

/// `icons.json`, and `chars.json` from code points (without U+FE0F) to names.
fn icon_set(archive: &Path) -> Result<(IconSet, HashMap<String, String>), DataError> {
    let bad = |reason: String| DataError::BadPack { path: archive.to_path_buf(), reason };
    let wanted = ["package/icons.json", "package/chars.json"];
    let mut files = members(archive, |name| wanted.contains(&name).then(|| name.to_string()))?;
    let icons = files.remove(wanted[0]).ok_or_else(|| bad("icons.json is missing".to_string()))?;
    let set: IconSet = serde_json::from_slice(&icons).map_err(|e| bad(format!("icons.json: {e}")))?;
    let chars: HashMap<String, String> = match files.remove(wanted[1]) {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|e| bad(format!("chars.json: {e}")))?,
        None => HashMap::new(),
    };
    let chars = chars.into_iter().map(|(code, name)| (plain_code(&code), name)).collect();
    Ok((set, chars))
}

/// The files that are named by code point.
fn by_code(vendor: &Vendor, archive: &Path) -> Result<HashMap<String, Vec<u8>>, DataError> {
    let (folder, end) = match vendor.layout {
        Layout::WebP => ("package/assets/", ".webp"),
        _ => ("package/color/svg/", ".svg"),
    };
    members(archive, |name| Some(plain_code(name.strip_prefix(folder)?.strip_suffix(end)?)))
}

/// Code points in lower case and without the variation selector U+FE0F, which vendors use unlike.
fn plain_code(code: &str) -> String {
    let lower = code.to_lowercase();
    let parts: Vec<&str> = lower.split('-').filter(|part| *part != "fe0f").collect();
    parts.join("-")
}

/// The files of a `.tgz` for which `key` gives a name, under those names.
fn members(archive: &Path, key: impl Fn(&str) -> Option<String>) -> Result<HashMap<String, Vec<u8>>, DataError> {
    let bad = |e: std::io::Error| DataError::BadPack {
        path: archive.to_path_buf(),
        reason: format!("the archive is damaged ({e})"),
    };
    let file = File::open(archive).map_err(DataError::io("read", archive))?;
    let unpacked = GzDecoder::new(BufReader::new(file)).take(MAX_ARCHIVE_BYTES);
    let mut files = HashMap::new();
    for entry in tar::Archive::new(unpacked).entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        let name = entry.path().map_err(bad)?.to_string_lossy().into_owned();
        let Some(key) = key(&name).filter(|_| entry.header().entry_type().is_file()) else {
            continue;
        };
        let mut bytes = Vec::new();
        let read = (&mut entry).take(MAX_MEMBER_BYTES + 1).read_to_end(&mut bytes).map_err(bad)?;
        if read as u64 > MAX_MEMBER_BYTES {
            let reason = format!("{name} is larger than {MAX_MEMBER_BYTES} bytes");
            return Err(DataError::BadPack { path: archive.to_path_buf(), reason });
        }
        files.insert(key, bytes);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::labels::find;
    use crate::vendors::VENDORS;

    const BODY: &str = "<path d='M0 0h9v9z'/>";

    fn pack(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("pack.tgz");
        let mut tar = tar::Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        (place, path)
    }

    fn vendor(name: &str) -> &'static Vendor {
        VENDORS.iter().find(|vendor| vendor.name == name).unwrap()
    }

    fn symbols(keys: &[&str]) -> Vec<&'static Symbol> {
        keys.iter().map(|key| find(key).unwrap().1).collect()
    }

    /// How many designs of each symbol were read, with their tones.
    fn tones(read: &[Vec<Art>]) -> Vec<Vec<u8>> {
        read.iter().map(|designs| designs.iter().map(|art| art.tone).collect()).collect()
    }

    #[test]
    fn icons_are_found_by_code_point_name_alias_and_number() {
        let icons = format!(
            r#"{{"width": 10, "height": 10, "icons": {{"apple": {{"body": "{BODY}"}}, "pear-1": {{"body": "{BODY}"}},
            "pear-2": {{"body": "{BODY}", "width": 9.5}}, "tangerine": {{"body": "{BODY}"}}, "pistol": {{"body": "{BODY}"}},
            "man": {{"body": "{BODY}"}}, "man-dark-skin-tone": {{"body": "{BODY}"}}}},
            "aliases": {{"lemon": {{"parent": "tangerine"}}}}}}"#
        );
        let files = [("package/icons.json", icons.as_str()), ("package/chars.json", r#"{"1f34e-fe0f": "apple"}"#)];
        let (_place, path) = pack(&files);
        let wanted = symbols(&["red-apple", "pear", "lemon", "man", "pistol", "banana"]);
        let read = read_pack(vendor("noto"), &path, &wanted).unwrap();
        assert_eq!(tones(&read), [vec![0], vec![0, 0], vec![0], vec![0, 5], vec![], vec![]]);
        assert!(read[0][0].raster().is_ok());
        let real = read_pack(vendor("emojione"), &path, &symbols(&["pistol"])).unwrap();
        assert_eq!(tones(&real), [vec![0]]);
    }

    #[test]
    fn files_are_found_by_code_point_with_skin_tones() {
        let svg = format!("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>{BODY}</svg>");
        let names = ["1F34E", "1F468", "1F468-1F3FB", "1F468-1F3FF-200D-1F373", "26EA-FE0F"];
        let paths = names.map(|name| format!("package/color/svg/{name}.svg"));
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), svg.as_str())).collect();
        let (_place, path) = pack(&files);
        let wanted = symbols(&["red-apple", "man", "man-cook", "church"]);
        let read = read_pack(vendor("openmoji"), &path, &wanted).unwrap();
        assert_eq!(tones(&read), [vec![0], vec![0, 1], vec![5], vec![0]]);
    }

    #[test]
    fn damaged_packs_are_errors_that_name_the_file() {
        let wanted = symbols(&["red-apple"]);
        let fails = |path: &Path| {
            let error = read_pack(vendor("noto"), path, &wanted).unwrap_err().to_string();
            assert!(error.contains("pack.tgz"), "{error}");
            error
        };
        let (_place, path) = pack(&[("package/README.md", "no icons")]);
        assert!(fails(&path).contains("icons.json is missing"));
        let (_place, path) = pack(&[("package/icons.json", "{")]);
        assert!(fails(&path).contains("icons.json"));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(fails(&path).contains("damaged"));
        std::fs::remove_file(&path).unwrap();
        fails(&path);
    }
}
