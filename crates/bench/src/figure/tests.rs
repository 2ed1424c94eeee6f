//! Floors are judged as the table says.

use super::*;

#[test]
fn every_reference_is_a_figure_of_the_same_scene_and_unit() {
    for figure in FIGURES {
        if let Some(reference) = figure.reference.map(find) {
            assert_eq!(figure.scene, reference.scene, "{}", figure.name);
            assert_eq!(figure.unit, reference.unit, "{}", figure.name);
        }
    }
}

#[test]
fn names_are_unique() {
    for figure in FIGURES {
        let namesakes = FIGURES.iter().filter(|other| other.name == figure.name);
        assert_eq!(namesakes.count(), 1, "{}", figure.name);
    }
}

#[test]
fn a_floor_that_compares_has_something_to_compare_with() {
    for figure in FIGURES {
        match figure.floor {
            Some(RatioAtMost(_) | RatioAtLeast(_) | MoreAtMost(_) | MoreThanRatioAtMost(..)) => {
                assert!(figure.reference.is_some(), "{}", figure.name);
            }
            Some(AtMost(_) | AtLeast(_)) | None => (),
        }
    }
}
