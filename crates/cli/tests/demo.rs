//! `farcall demo`: the first thing that anyone runs.

#![forbid(unsafe_code)]

mod support;

use support::Machine;

#[test]
fn the_demo_draws_one_picture_twice_and_says_so() {
    let machine = Machine::new();
    let ran = machine.run("demo --quick").says("both pictures are byte-identical");
    assert_eq!(ran.stderr, "", "no bar where nobody watches");
    assert!(!ran.stdout.contains('\u{1b}'));
    for part in ["local-1", "local-2", "speed-up", "Try next:", "demo --scene marbles"] {
        assert!(ran.stdout.contains(part), "no {part:?} in {}", ran.stdout);
    }
    let file = std::fs::File::open(machine.path("farcall-demo.png")).unwrap();
    let decoder = png::Decoder::new(std::io::BufReader::new(file));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (256, 144));
    let bright = pixels.iter().filter(|&&part| part > 40).count();
    assert!(bright > pixels.len() / 4, "a picture of something");
}

#[test]
fn a_scene_of_ones_own_is_read_and_its_mistakes_are_named() {
    let machine = Machine::new();
    machine.write("my.toml", "[picture]\nwidth = 3\n");
    machine.run("demo --scene my.toml").complains(&["error[E0402]: scene file my.toml"]);
    machine.run("demo --scene none.toml").complains(&["error[E0402]: cannot read the scene file"]);
    machine.run("demo --quick --scene cornell --nodes 3 --out c.png").says("local-3");
    assert!(machine.path("c.png").exists());
}
