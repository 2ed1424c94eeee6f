//! Names of jobs and tasks, in words.

use super::*;

#[test]
fn names_are_read_as_they_are_written() {
    for number in [0, 1, 31, 32, (1 << 35) - 1, 1 << 35, u64::MAX] {
        let name = TaskName { job: JobId(number), task: number };
        assert_eq!(name.to_string().parse(), Ok(name), "{name}");
    }
    assert_eq!(JobId(0).to_string(), "0000000");
    assert_eq!(JobId::drawn(u64::MAX).to_string(), "zzzzzzz");
    assert_eq!("K3F9QX2".parse::<JobId>(), "k3f9qx2".parse());
    assert_eq!("OIL0000".parse::<JobId>(), "0110000".parse());
}

#[test]
fn what_is_no_name_is_none() {
    for text in ["", ".", "a.", ".1", "a.b", "../x", "a.1.2", "u.1", "zzzzzzzzzzzzz", "é.1", "a.-1"]
    {
        assert_eq!(text.parse::<TaskName>(), Err(JobNameError), "{text}");
    }
    for text in ["", "..", "a/b", "-", "zzzzzzzzzzzzz", "zzzzzzzzzzzzzz"] {
        assert_eq!(text.parse::<JobId>(), Err(JobNameError), "{text}");
    }
}
