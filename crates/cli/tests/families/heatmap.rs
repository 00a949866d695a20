//! `guard --heatmap`: where the harm is.

use std::fs;
use std::path::Path;

use image::GenericImageView;
use serde_json::Value;

use crate::{FAMILIES, goldens, program, refused};

fn guard(arguments: &[&str]) -> Vec<Value> {
    let output = program(&[&["guard", "--device", "flex", "--json"][..], arguments].concat()).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_map_is_of_the_pictures_size_and_its_verdict_the_guards() {
    let folder = tempfile::tempdir().unwrap();
    for family in FAMILIES {
        let (model, pictures) = (goldens(family).join("tiny"), goldens(family).join("pictures"));
        let to = folder.path().join(family);
        let base = [pictures.to_str().unwrap(), "--model", model.to_str().unwrap()];
        let plain = guard(&base);
        let maps = guard(&[&base[..], &["--heatmap", to.to_str().unwrap()]].concat());
        assert_eq!(maps.len(), plain.len());
        for (map, plain) in maps.iter().zip(&plain) {
            assert_eq!(map["path"], plain["path"]);
            let p = |safety: &Value| safety["unsafe_probability"].as_f64().unwrap();
            assert!((p(&map["safety"]) - p(&plain["safety"])).abs() < 1e-4, "{map} {plain}");
            let map = &map["heatmap"];
            let (drawn, picture) = (&map["picture"], Path::new(plain["path"].as_str().unwrap()));
            let drawn = image::open(drawn.as_str().unwrap()).unwrap();
            let size = image::open(picture).unwrap().dimensions();
            assert_eq!(drawn.dimensions(), size, "{}", picture.display());
            let grid: Vec<u64> = serde_json::from_value(map["grid"].clone()).unwrap();
            let values: Vec<f64> = serde_json::from_value(map["unsafe"].clone()).unwrap();
            assert_eq!(values.len() as u64, grid[0] * grid[1]);
            assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
            assert_eq!(map["mean_of_token_logits"]["probabilities"].as_object().unwrap().len(), 20);
            let peak = &map["peak"];
            assert!(peak["x"].as_u64().unwrap() < size.0.into() && peak["y"].as_u64().unwrap() < size.1.into());
            let highest = values.iter().copied().fold(0.0, f64::max);
            assert!(peak["unsafe_probability"].as_f64().unwrap() <= highest);
            assert!(peak["probability"].as_f64().unwrap() <= peak["unsafe_probability"].as_f64().unwrap() + 1e-6);
        }
    }
}

#[test]
fn one_picture_has_one_map_and_both_verdicts_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let (model, picture) = (goldens("safe-gem").join("tiny"), goldens("safe-gem").join("pictures/wide.png"));
    let to = folder.path().join("new/where.png");
    let (model, picture, to) = (model.to_str().unwrap(), picture.to_str().unwrap(), to.to_str().unwrap());
    let output = program(&["guard", "--device", "flex", "--model", model, picture, "--heatmap", to]).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    for words in ["VERDICT", "mean of their logits: unsafe ", "peak at ", &format!("drawn: {to}")] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    assert_eq!(image::open(to).unwrap().dimensions(), image::open(picture).unwrap().dimensions());
}

#[test]
fn maps_that_cannot_be_made_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("where.png").display().to_string();
    let pictures = goldens("safe-llava").join("pictures");
    let copy = folder.path().join("photo.png");
    fs::copy(pictures.join("photo.png"), &copy).unwrap();
    let (pictures, copy) = (pictures.to_str().unwrap(), copy.to_str().unwrap());
    let refused = |model: &str, paths: &str, to: &str| {
        let model = goldens("safe-llava").join(model);
        refused(&["guard", "--device", "flex", "--model", model.to_str().unwrap(), paths, "--heatmap", to])
    };
    assert!(refused("meta", copy, &to).contains("meta token"));
    assert!(refused("gqa", copy, &to).contains("no guard head"));
    assert!(refused("tiny", pictures, &to).contains("name a folder"));
    assert!(refused("tiny", copy, copy).contains("would replace"));
    assert!(!Path::new(&to).exists());
}
