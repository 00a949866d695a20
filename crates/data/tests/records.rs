//! Reading records: the error names the file, the row and the field.

use std::path::PathBuf;

use safevlm_data::{Combination, DataError, read_records, write_jsonl};

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

#[test]
fn both_layouts_are_read_and_written_back() {
    let second = one_line(ROW).replace("\"id\": 7", "\"id\": 8");
    let (_place, lines) = file(&format!("{}\n\n{second}\n", one_line(ROW)));
    let (_other, array) = file(&format!(" [{ROW}, {second}]"));
    let records = read_records(&lines).unwrap();
    assert_eq!(records, read_records(&array).unwrap());
    assert_eq!((records[0].combination, records[0].label_id()), (Combination::Usu, 16));

    let mut text = Vec::new();
    write_jsonl(&records, &lines, &mut text).unwrap();
    let (_third, copy) = file(&String::from_utf8(text).unwrap());
    assert_eq!(read_records(&copy).unwrap(), records);
}

#[test]
fn a_bad_row_is_named() {
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
        let (_place, path) = file(&format!("{}\n{bad}\n", one_line(ROW)));
        let error = read_records(&path).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("rows.json") && text.contains("row 2") && text.contains(field), "{text}");
        assert!(error.is_bad_input());
    }
    let (_place, twice) = file(&format!("[{ROW}, {ROW}]"));
    assert!(read_records(&twice).unwrap_err().to_string().contains("`id` 7 occurs twice"));
    let (_place, broken) = file("[{\"id\": 7");
    assert!(read_records(&broken).unwrap_err().to_string().contains("JSON array"));
}

#[test]
fn a_missing_file_is_named() {
    let error = read_records(&PathBuf::from("no/such/rows.json")).unwrap_err();
    assert!(matches!(&error, DataError::Io { .. }) && error.to_string().contains("no/such/rows.json"));
}
