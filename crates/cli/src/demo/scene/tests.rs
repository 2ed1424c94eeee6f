//! Parses scene files as people write them.

use super::*;

const SMALL: &str = r#"
    [picture]
    width = 30
    height = 20
    samples = 4

    [camera]
    from = [0, 1, 5]
    to = [0, 1, 0]
    field_of_view = 40

    [materials.dull]
    kind = "diffuse"
    color = [0.5, 0.5, 0.5]
    checker = { color = [0, 0, 0], size = 1 }

    [[planes]]
    point = [0, 0, 0]
    normal = [0, 2, 0]
    material = "dull"

    [[rectangles]]
    corner = [0, 0, 0]
    side = [1, 0, 0]
    other_side = [0, 1, 0]
    material = "dull"

    [[spheres]]
    center = [0, 1, 0]
    radius = 1
    material = "dull"
"#;

#[test]
fn examples_are_good_scenes() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/scenes"));
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let scene = Scene::read(&path).unwrap_or_else(|error| panic!("{error}"));
            assert!(!scene.encode(scene.whole()).is_empty());
            count += 1;
        }
    }
    assert!(count >= 3);
}

#[test]
fn mistakes_are_named_with_file_field_and_next_step() {
    check("width = 30", "width = 0", "small.toml: picture.width is 0; choose one from 1 to 16384");
    check("samples = 4", "samples = 99999", "picture.samples is 99999; choose one");
    check("field_of_view = 40", "field_of_view = nan", "camera.field_of_view is NaN; choose");
    check("to = [0, 1, 0]", "to = [0, 1, 5]", "camera.up is [0.0, 1.0, 0.0]; let camera.to differ");
    check("to = [0, 1, 0]", "to = [0, 9, 5]", "camera.up point another way");
    check("to = [0, 1, 0]", "to = [inf, 1, 0]", "camera.to is [inf, 1.0, 0.0]; stay between");
    check("[0.5, 0.5, 0.5]", "[0.5, 1.5, 0.5]", "materials.dull.color is [0.5, 1.5, 0.5]; choose");
    check("size = 1 }", "size = 0 }", "materials.dull.checker.size is 0.0; choose");
    check("[0, 2, 0]", "[0, 0, 0]", "planes[0].normal is [0.0, 0.0, 0.0]; give it a length");
    check("other_side = [0, 1, 0]", "other_side = [1, 1, 0]", "rectangles[0].other_side");
    check("radius = 1", "radius = -1", "spheres[0].radius is -1.0; choose one");
    check("material = \"dull\"\n\n    [[r", "material = \"dul\"\n\n    [[r", "or use one of: dull");
}

#[test]
fn unknown_and_missing_fields_are_named() {
    check("samples = 4", "samples = 4\n dept = 3", "unknown field `dept`");
    check("samples = 4", "", "missing field `samples`");
    check("kind = \"diffuse\"", "kind = \"wood\"", "unknown variant `wood`");
    check("kind = \"diffuse\"", "kind = \"diffuse\"\n colour = 1", "unknown field `colour`");
    check("radius = 1", "radius = \"1\"", "expected f64");
    check("[picture]", "[picture", "small.toml is not understood");
}

#[test]
fn missing_file_is_named() {
    let error = Scene::read(Path::new("/nowhere/at/all.toml")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all.toml"), "{error}");
}

#[test]
fn tiles_cover_each_pixel_once() {
    let scene = small();
    for side in [1, 7, 16, 30, 1000] {
        let mut picture = vec![0_u8; 30 * 20 * 3];
        for tile in scene.tiles(side) {
            let count = (tile.columns * tile.rows * 3) as usize;
            let mut once = vec![0; picture.len()];
            scene.place(tile, &vec![1; count], &mut once);
            picture.iter_mut().zip(once).for_each(|(sum, one)| *sum += one);
        }
        assert!(picture.iter().all(|&times| times == 1), "tiles of {side}");
    }
    assert_eq!(scene.tiles(1000), [scene.whole()]);
}

#[test]
fn reducing_keeps_the_shape_and_never_enlarges() {
    let mut scene = small();
    scene.reduce(15, 1);
    assert_eq!((scene.picture.width, scene.picture.height, scene.picture.samples), (15, 10, 1));
    scene.reduce(500, 500);
    assert_eq!((scene.picture.width, scene.picture.height, scene.picture.samples), (15, 10, 1));
}

#[test]
fn encoded_tile_has_the_layout_that_the_core_reads() {
    let scene = small();
    let bytes = scene.encode(Tile { x: 1, y: 2, columns: 3, rows: 4 });
    let header = 4 + 8 * 4 + 8 + 4 * 24 + 4 * 8 + 2 * 24 + 4 * 4;
    assert_eq!(bytes.len(), header + 72 + 40 + 56 + 80);
    let words: Vec<u32> =
        bytes[4..36].chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    assert_eq!(&bytes[..4], b"FCT1");
    assert_eq!(words, [30, 20, 1, 2, 3, 4, 4, 8]);
    let normal = &bytes[header + 72 + 40 + 8 + 24..][..24];
    assert_eq!(normal, [0.0_f64, 1.0, 0.0].map(f64::to_le_bytes).concat(), "made a unit vector");
}

fn small() -> Scene {
    Scene::parse(SMALL, Path::new("small.toml")).unwrap()
}

/// Puts a mistake into a good scene and looks for what must be said about it.
#[track_caller]
fn check(good: &str, bad: &str, wanted: &str) {
    assert!(SMALL.contains(good), "{good:?} is not in the scene");
    let text = SMALL.replacen(good, bad, 1);
    let error = Scene::parse(&text, Path::new("small.toml")).expect_err(bad);
    let said = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    assert!(said.contains(wanted) && said.contains("small.toml"), "{bad:?} gives: {said}");
}
