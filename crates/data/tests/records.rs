//! Reading rows: the same from every layout, and an error names the file, the row and the field.

use std::path::{Path, PathBuf};

use safevlm_data::{
    BenchReader, BenchRow, CheckOptions, Combination, DataError, Record, RowFormat, check, write_jsonl,
};

const ROW: &str = r#"{"id": 7, "image": "violence/weapon_related_violence/a.png", "query": "What is this?", "type": "USU",
 "category": "violence", "subcategory": "weapon_related_violence", "image_safe": false, "image_safety_label": 16}"#;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("rows.json");
    std::fs::write(&path, text).unwrap();
    (place, path)
}

fn one_line(row: &str) -> String {
    row.replace('\n', "")
}

fn rows(path: &Path) -> Vec<Result<BenchRow, DataError>> {
    BenchReader::open(path, None).unwrap().collect()
}

fn records(path: &Path) -> Vec<Record> {
    rows(path).into_iter().map(|row| row.unwrap().record).collect()
}

#[test]
fn both_layouts_are_read_and_written_back() {
    let second = one_line(ROW).replace("\"id\": 7", "\"id\": 8");
    let (_place, lines) = file(&format!("{}\n\n{second}\n", one_line(ROW)));
    let (_other, array) = file(&format!(" [{ROW}, {second}]"));
    let read = records(&lines);
    assert_eq!(read, records(&array));
    assert_eq!((read[0].combination, read[0].label_id()), (Combination::Usu, 16));

    let mut text = Vec::new();
    write_jsonl(&read, &lines, &mut text).unwrap();
    let (_third, copy) = file(&String::from_utf8(text).unwrap());
    assert_eq!(records(&copy), read);
}

#[test]
fn a_bad_row_is_named_and_the_others_are_read() {
    let cases = [
        ("\"type\": \"USU\"", "\"type\": \"XYZ\"", "XYZ"),
        ("\"type\": \"USU\"", "\"type\": \"SSS\"", "image_safe"),
        ("\"query\": \"What is this?\", ", "", "query"),
        ("What is this?", " ", "query"),
        ("label\": 16", "label\": 20", "image_safety_label"),
        ("label\": 16", "label\": -1", "-1"),
        ("label\": 16", "label\": 0", "image_safe"),
        ("weapon_related_violence\"", "weapons\"", "subcategory"),
        ("\"category\": \"violence\"", "\"category\": \"hate\"", "category"),
        ("violence/weapon_related_violence/a.png", "../a.png", "image"),
        ("violence/weapon_related_violence/a.png", "/etc/a.png", "image"),
    ];
    for (old, new, field) in cases {
        let bad = one_line(ROW).replace(old, new).replace("\"id\": 7", "\"id\": 8");
        let (_place, path) = file(&format!("{0}\n{bad}\n{0}\n", one_line(ROW)));
        let rows = rows(&path);
        assert!(rows[0].is_ok() && rows[2].is_ok());
        let error = rows[1].as_ref().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("rows.json") && text.contains("row 2") && text.contains(field), "{text}");
        assert!(error.is_bad_input() && error.is_row());
    }
    let (_place, broken) = file("[{\"id\": 7");
    let error = rows(&broken).pop().unwrap().unwrap_err();
    assert!(!error.is_row() && error.to_string().contains("cut off"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = BenchReader::open(&PathBuf::from("no/such/rows.json"), None).unwrap_err();
    assert!(matches!(&error, DataError::Io { .. }) && error.to_string().contains("no/such/rows.json"));
    assert!(error.is_bad_input());
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

#[test]
fn parquet_as_the_hub_has_it_gives_the_rows_of_the_json() {
    let json = records(&goldens().join("bench.json"));
    assert_eq!(json.len(), 3);
    for name in ["hub.parquet", "zstd.parquet", "split"] {
        let path = goldens().join(name);
        let mut reader = BenchReader::open(&path, None).unwrap();
        let mut read = Vec::new();
        while let Some(row) = reader.next() {
            let row = row.unwrap();
            let picture = image::load_from_memory(&reader.image(&row).unwrap()).unwrap();
            assert_eq!((picture.width(), picture.height()), (8, 8), "{name}");
            read.push(row.record);
        }
        assert_eq!(read, json, "{name}");
    }
    // Pictures with one name, or none, are still different pictures.
    for (name, first) in [("short.parquet", "picture.png"), ("nameless.parquet", "11")] {
        let path = goldens().join(name);
        assert_eq!(records(&path)[0].image, first);
        let found = check(&path, &CheckOptions::default(), &mut || {}).unwrap();
        assert!(found.is_sound() && found.conflicting_labels.count == 0, "{found:?}");
        assert_eq!(found.images, 3);
    }
    // Paths instead of pictures; the pictures are beside it.
    let mut reader = BenchReader::open(&goldens().join("paths.parquet"), None).unwrap();
    let first = reader.next().unwrap().unwrap();
    assert!(first.embedded.is_none());
    assert_eq!(first.record, json[0]);
    assert!(matches!(reader.image(&first), Err(DataError::NoImage { .. })));
}

#[test]
fn a_damaged_parquet_file_is_an_error_wherever_it_is_damaged() {
    let whole = std::fs::read(goldens().join("hub.parquet")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("rows.parquet");
    let mut failed = 0;
    for at in (0..whole.len()).step_by(7) {
        for damaged in [whole[..at].to_vec(), [&whole[..at], &[whole[at] ^ 0xFF], &whole[at + 1..]].concat()] {
            std::fs::write(&path, damaged).unwrap();
            let outcome: Result<Vec<BenchRow>, DataError> =
                BenchReader::open(&path, None).and_then(|reader| reader.collect());
            failed += usize::from(outcome.is_err_and(|error| error.to_string().contains("rows.parquet")));
        }
    }
    // A flipped byte inside a picture or a statistic may go unnoticed; half of a file never does.
    assert!(failed > whole.len() / 7, "{failed}");
}

#[test]
fn a_check_finds_everything_at_once() {
    let place = tempfile::tempdir().unwrap();
    let images = place.path().join("images/violence/weapon_related_violence");
    std::fs::create_dir_all(&images).unwrap();
    image::RgbImage::new(4, 4).save(images.join("a.png")).unwrap();
    std::fs::write(images.join("b.png"), "no picture").unwrap();
    let row = one_line(ROW);
    let safe = row
        .replace("USU", "SSS")
        .replace("\"image_safe\": false, \"image_safety_label\": 16", "\"image_safe\": true, \"image_safety_label\": 0")
        .replace("\"subcategory\": \"weapon_related_violence\"", "\"subcategory\": \"terrorism\"");
    let with =
        |row: &str, id: u32, name: &str| row.replace("\"id\": 7", &format!("\"id\": {id}")).replace("a.png", name);
    let text = [
        with(&row, 1, "a.png"),
        with(&safe, 2, "a.png"),
        with(&row, 2, "b.png"),
        with(&row, 3, "c.png"),
        with(&row, 4, "c.png"),
        row.replace("16", "99"),
    ];
    let path = place.path().join("rows.jsonl");
    std::fs::write(&path, text.join("\n")).unwrap();
    let mut seen = 0;
    let found = check(&path, &CheckOptions::default(), &mut || seen += 1).unwrap();
    assert_eq!((found.format, found.rows, seen, found.images), (RowFormat::Bench, 5, 6, 3));
    assert!(!found.is_sound());
    assert_eq!((found.broken_rows.count, found.duplicate_ids.examples), (1, vec!["2".to_owned()]));
    assert_eq!((found.missing_images.count, found.unreadable_images.count), (1, 1));
    assert_eq!(found.conflicting_labels.examples, ["violence/weapon_related_violence/a.png"]);
    assert_eq!(found.other_folder, 1);
    assert_eq!(found.types["USU"], 4);
}

#[test]
fn conversations_need_a_folder_of_pictures_only_where_they_have_some() {
    let text =
        r#"{"id": "a", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}"#;
    let (place, path) = file(text);
    let found = check(&path, &CheckOptions::default(), &mut || {}).unwrap();
    assert!(found.is_sound(), "{found:?}");
    assert_eq!((found.format, found.rows, found.images), (RowFormat::Llava, 1, 0));
    // A picture that the first row does not have is still looked for.
    let with_picture = text.replace(r#""a","#, r#""b", "image": "a.png","#).replace("Hi", "<image>\\nWhat is this?");
    std::fs::write(&path, format!("{text}\n{with_picture}")).unwrap();
    let error = check(&path, &CheckOptions::default(), &mut || {}).unwrap_err();
    assert!(error.to_string().contains("images"), "{error}");
    std::fs::create_dir(place.path().join("images")).unwrap();
    let found = check(&path, &CheckOptions::default(), &mut || {}).unwrap();
    assert_eq!((found.rows, found.missing_images.count), (2, 1));
}

/// The published predictions hold the whole benchmark but its pictures. They are gated and not part of the
/// project: the test runs where they lie beside it, and says so where they do not.
#[test]
fn the_benchmark_is_as_described() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/holisafe-predictions");
    if !folder.is_dir() {
        println!("skipped: the official predictions are gated and not beside this checkout");
        return;
    }
    let options = CheckOptions { no_images: true, ..CheckOptions::default() };
    let found = check(&folder.join("gpt-4o_holisafe_bench.json"), &options, &mut || {}).unwrap();
    assert!(found.is_sound(), "{found:?}");
    assert_eq!((found.rows, found.images), (4031, 1796));
    let types = [("SSS", 682), ("SSU", 718), ("SUU", 899), ("USU", 971), ("UUU", 761)];
    assert_eq!(found.types.into_iter().collect::<Vec<_>>(), types);
    assert_eq!(found.conflicting_labels.count, 5);
    assert_eq!(found.other_folder, 310);
    assert_eq!(found.labels["safe"], 2299);
}
