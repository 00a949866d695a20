//! The real picture sets, fetched through npm into the cache: one load of each split for all tests.

use std::collections::HashSet;
use std::sync::LazyLock;

use safevlm_data::labels::{FAMILIES, Role, symbols};
use safevlm_data::{PictureSets, Scene, Split, VENDORS, vendors};
use safevlm_weights::Cache;
use sha2::{Digest, Sha256};

static TRAIN: LazyLock<PictureSets> = LazyLock::new(|| load(Split::Train));
static HELD_OUT: LazyLock<PictureSets> = LazyLock::new(|| load(Split::HeldOut));

fn load(split: Split) -> PictureSets {
    PictureSets::load(&Cache::open(None).unwrap(), split, false).unwrap()
}

fn digest(scene: &Scene) -> String {
    Sha256::digest(scene.image.as_raw()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn no_vendor_is_in_both_splits() {
    let train: HashSet<_> = vendors(Split::Train).map(|vendor| vendor.package).collect();
    let held_out: HashSet<_> = vendors(Split::HeldOut).map(|vendor| vendor.package).collect();
    assert!(train.is_disjoint(&held_out));
    assert_eq!(train.len() + held_out.len(), VENDORS.len());
    for sets in [&*TRAIN, &*HELD_OUT] {
        for symbol in symbols() {
            for vendor in sets.vendors_of(symbol.key()) {
                assert_eq!(vendor.split, sets.split(), "{} of {}", symbol.key(), vendor.name);
            }
        }
    }
}

#[test]
fn every_vendor_has_enough_for_every_class_it_can_serve() {
    for sets in [&*TRAIN, &*HELD_OUT] {
        for (role, family) in FAMILIES {
            let there = family.iter().filter(|symbol| !sets.vendors_of(symbol.key()).is_empty()).count();
            let wanted = match role {
                Role::Hazard(7) if sets.split() == Split::HeldOut => 0, // burglars' tools: composed there
                Role::Hazard(_) => 2,
                _ => 2.min(family.len()),
            };
            assert!(there >= wanted, "{role:?} has {there} symbols in {}", sets.split());
        }
    }
    // Training sees no symbol that is drawn by one vendor only, but for the game-icons ones.
    let shared = symbols().filter(|symbol| !symbol.code.is_empty());
    for symbol in shared {
        assert!(TRAIN.vendors_of(symbol.key()).len() >= 2, "{} has too few vendors", symbol.key());
    }
}

#[test]
fn water_pistols_are_left_out() {
    let names = |sets: &PictureSets| sets.vendors_of("pistol").iter().map(|v| v.name).collect::<Vec<_>>();
    assert_eq!(names(&TRAIN), ["fxemoji", "game-icons"]);
    assert_eq!(names(&HELD_OUT), ["openmoji", "emojione"]);
}

#[test]
fn every_picture_can_be_drawn() {
    let mut count = 0;
    for sets in [&*TRAIN, &*HELD_OUT] {
        for symbol in symbols() {
            for sprite in sets.sprites(symbol.key()).unwrap() {
                let (width, height) = sprite.rgba.dimensions();
                assert!((20..=512).contains(&width.max(height)), "{} of {}", sprite.concept, sprite.vendor);
                assert!(sprite.rgba.pixels().any(|pixel| pixel.0[3] > 200), "{} of {}", sprite.concept, sprite.vendor);
                count += 1;
            }
        }
    }
    assert!(count > 3000, "{count}");
}

#[test]
fn scenes_are_pinned() {
    let pins = |sets: &PictureSets| [5, 13, 22].map(|seed| digest(&sets.scene(seed).unwrap()));
    assert_eq!(
        [pins(&TRAIN), pins(&HELD_OUT)],
        [
            [
                "db1b7b41611c787bf65dd36fb71737ba2379714e6c87de6942b937122c075ac2",
                "b951026d71d1571efbaf5d4981970f733b11a90be59b4ae5f9a6281ff5e8487c",
                "087bda1ef5534ad440d167167a292eee18a916210fcff7c9f0210cf4dae26e28"
            ],
            [
                "73d342cce00bbb9764bc891d86d23e4319ae21fac3514438d2c09b03d3c4bbe6",
                "a4df298f292a673efd573c4b937336a0e7c9183fda3364e4af0b82330cbf653a",
                "2aa010258d92488e2edd72d3970cb570bcb3cf9927cb5945b4f143402b46d5a4"
            ]
        ]
    );
}

#[test]
fn scenes_of_every_class_are_composed_in_both_splits() {
    for sets in [&*TRAIN, &*HELD_OUT] {
        let mut seen = HashSet::new();
        for scene in sets.scenes(1000, 300) {
            let scene = scene.unwrap();
            assert_eq!(scene.image.dimensions(), (224, 224));
            assert!(!scene.rows.is_empty());
            seen.insert(scene.label_id);
        }
        assert_eq!(seen.len(), 20);
    }
}
