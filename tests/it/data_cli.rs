//! `dada data`

use crate::tiny::{dada, pictures, printed, refused};

#[test]
fn a_sound_folder_passes_and_a_damaged_one_is_told() {
    let sound = pictures(false);
    let report = printed(&["data", "check", &format!("folder:{}", sound.path().display())]);
    assert!(report.contains("2 classes, 6 pictures"), "{report}");
    let damaged = pictures(true);
    let output = dada(&["data", "check", &format!("folder:{}", damaged.path().display()), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["parts"][0]["unreadable"].as_array().unwrap().len(), 1, "{report}");
}

#[test]
fn offers_are_listed_and_unknown_names_refused() {
    let offers = printed(&["data", "fetch"]);
    assert!(offers.contains("cub200: ") && offers.contains("MD5"), "{offers}");
    assert!(refused(&["data", "fetch", "birds"]).contains("expected one of"));
}
