use std::process::Command;

use wire::image::{ImageId, Reader};

use super::*;

#[test]
fn a_sleeping_program_is_captured_whole() {
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = Pid(child.id() as i32);
    let mut frozen = Frozen::freeze(pid, Duration::from_secs(10)).unwrap();
    let description = frozen.describe().unwrap();
    let mut writer = Writer::new(Vec::new(), ImageId(7));
    description.put(&mut writer).unwrap();
    let sent = frozen.send(&description, &mut writer).unwrap();
    let image = writer.finish().unwrap();
    eprintln!("{sent:?} {} {description:#?}", image.len());
    let mut reader = Reader::new(&image[..]).unwrap().unwrap();
    let (found, _) = Description::take(&mut reader).unwrap();
    assert_eq!(found, description);
    frozen.release().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}
