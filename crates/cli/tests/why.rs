//! `farcall why`, `jobs`, `logs`, `retry` and `--trace`: what is known of tasks that wait, run, have
//! ended or are lost.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use support::{Machine, Ran, until};

const SPECIMEN: &str = "misbehaving/specimen.c";

fn parsed(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// All jobs that are known, the latest first.
fn jobs(machine: &Machine, words: &str) -> Vec<Value> {
    let ran = machine.run(&format!("jobs --json {words}"));
    parsed(&ran)["jobs"].as_array().unwrap().clone()
}

/// The name of the latest job on this machine.
fn latest(machine: &Machine) -> String {
    jobs(machine, "")[0]["id"].as_str().unwrap().to_owned()
}

fn why(machine: &Machine, task: &str) -> Value {
    parsed(&machine.run(&format!("why {task} --json")))
}

fn verdict(machine: &Machine, task: &str) -> String {
    why(machine, task)["verdict"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn whatever_ended_a_task_is_told_with_its_numbers() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    machine.write("in", "echo one\ncrash\nexit 3\nrc 7 said\nleak 256\nhang\n");
    let options = "--deadline 300ms --memory 64M --retries 1";
    let ran = machine.run(&format!("core run {specimen} --lines in {options}"));
    let id = latest(&machine);
    let ran = ran.complains(&["`farcall why ", "`farcall retry "]);
    assert!(ran.stderr.contains(&format!("farcall why {id}.2")), "{}", ran.stderr);

    let tell = |task: u32| machine.run(&format!("why {id}.{task}"));
    tell(1).says("it went well on local-1");
    tell(2)
        .says("attempt 2 of at most 2: signal 11 (segmentation fault) ended its worker")
        .says("attempt 1 of at most 2 on local-1: signal 11 (segmentation fault)")
        .says("more: farcall explain T0102");
    tell(3).says("its program called exit(3)");
    tell(4).says("its program returned 7").says("  | said");
    tell(5).says("at its peak, and 64.0 MiB allowed").says("--memory ");
    tell(6).says("it ran longer than its limit of 300.0 ms").says("slow because of: ");
    let job = &jobs(&machine, "")[0];
    assert_eq!(
        (&job["state"], &job["done"], &job["failed"]),
        (&"failed".into(), &1.into(), &5.into())
    );
    // The beginning of a job's name is enough.
    machine.run(&format!("why {}.1", &id[..6])).says("it went well");
}

#[test]
fn a_task_that_waits_says_for_what_and_one_that_runs_says_where() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    let (node, address) = machine.start_node("--name a --slots 1");
    machine.write("in", "hang\n".repeat(40));
    let job = machine.start(&format!("core run {specimen} --lines in --nodes {address}"));
    until("the job has a record", || !jobs(&machine, "").is_empty());
    let id = latest(&machine);
    let says = |task: u32, what: &str| {
        until(what, || verdict(&machine, &format!("{id}.{task}")).contains(what));
    };
    says(1, "it runs on a since ");
    assert!(verdict(&machine, &format!("{id}.1")).contains("process "));
    says(2, "for a slot: of 1 slot, 1 have tasks of yours and 0 of others");
    says(40, "it waits in its client's queue for a credit");
    says(40, "about ");
    assert_eq!(jobs(&machine, "")[0]["state"], "running");
    // Nodes know of it too, for those who have no record.
    let elsewhere = format!("why {id}.40 --nodes {address}");
    let other = machine.path("other");
    let mut command = machine.command(elsewhere.split(' '));
    let told = command.env("XDG_STATE_HOME", &other).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("it waits in its client's queue"), "{told}");
    node.signal("KILL");
    says(1, "no node can be reached");
    job.signal("KILL");
    assert!(job.end().is_none());
    says(1, "it had not ended when its client was interrupted");
    assert_eq!(jobs(&machine, "")[0]["state"], "interrupted");
}

/// A core that looks at nothing, does this, and answers nothing.
fn core_that(machine: &Machine, does: &str) -> String {
    let source = format!(
        "#include <stdint.h>\n\
         #include <stdio.h>\n\
         int32_t worker_init(void) {{ return 0; }}\n\
         int32_t worker_run_job(uint64_t n, void *d, uint64_t *m, void **o)\n\
         {{ (void)n; (void)d; *m = 0; *o = 0; {does} return 0; }}\n\
         void worker_free_outdata(void *o) {{ (void)o; }}\n"
    );
    let source = machine.write("own.c", source);
    let library = machine.path("libown.so");
    let mut command = Command::new("cc");
    command.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    assert!(command.status().unwrap().success());
    library.to_str().unwrap().to_owned()
}

#[test]
fn slow_because_of_queue_transfer_and_compute_are_told_apart() {
    let machine = Machine::new();
    let (_node, address) = machine.start_node("--name a --slots 1");
    let specimen = machine.core(SPECIMEN);
    machine.write("in", "work 1000\necho late\n");
    machine.run(&format!("core run {specimen} --lines in --nodes {address}")).says("late");
    let id = latest(&machine);
    let told = |task: u32| why(&machine, &format!("{id}.{task}"))["slow_because"].clone();
    assert_eq!((told(1), told(2)), ("compute".into(), "queue".into()));

    let idle = core_that(&machine, "");
    machine.write("small", "x");
    machine.write("large", vec![7; 96 << 20]);
    machine.run(&format!("core run {idle} small large --nodes {address}")).says("");
    let told = why(&machine, &format!("{}.2", latest(&machine)));
    assert_eq!(told["slow_because"], "transfer", "{told}");
    assert!(told["times"]["transfer_ms"].as_f64().unwrap() > 0.0, "{told}");
}

#[test]
fn what_a_task_wrote_is_there_when_its_node_and_its_client_are_not() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    let (node, address) = machine.start_node("--name a --slots 2");
    machine.write("in", "murmur the last words\necho one\n");
    let job = machine.start(&format!("core run {specimen} --lines in --nodes {address}"));
    until("the job has a record", || !jobs(&machine, "").is_empty());
    let id = latest(&machine);
    let logs = || machine.run(&format!("logs {id}.1")).stdout;
    until("it was written down", || logs() == "the last words\n");
    node.signal("KILL");
    job.signal("KILL");
    job.end();
    assert_eq!(logs(), "the last words\n");
    let all = machine.run(&format!("logs {id}"));
    assert_eq!(all.stdout, "1 | the last words\n");
    let silent = machine.run(&format!("logs {id}.2"));
    assert!(silent.stderr.contains("wrote nothing"), "{silent:?}");
}

#[test]
fn a_task_that_floods_its_standard_error_is_cut_and_harms_nobody() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    machine.write("in", "spam 300000\necho one\nstderr \u{1b}[2Jhello\n");
    let ran = machine.run(&format!("core run {specimen} --lines in"));
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "\none\n\n"), "{}", ran.stderr);
    let id = latest(&machine);
    let flood = machine.run(&format!("logs {id}.1"));
    assert!(flood.stdout.starts_with("line 1 of 300000\nline 2 of 300000\n"));
    // The first 32 KiB, the last 32 KiB, and as much again if it was read after the result.
    assert!(flood.stdout.len() <= 96 * 1024, "{} bytes", flood.stdout.len());
    assert!(flood.stderr.contains("were left out here"), "{}", flood.stderr);
    let all = machine.run(&format!("logs {id}")).stdout;
    assert!(all.contains("3 | ·[2Jhello\n"), "a stranger's words are tamed");
    // While it runs, for those who want to see it at once.
    machine.write("in", "stderr shown\n");
    let shown = machine.run(&format!("core run {specimen} --lines in --show-stderr"));
    assert_eq!(shown.stderr, "1 | shown\n");
    // A line that its task does not end, too.
    let murmuring = core_that(&machine, "fputs(\"one\\ntwo\", stderr);");
    let shown = machine.run(&format!("core run {murmuring} --lines in --show-stderr"));
    assert_eq!((shown.code, &*shown.stderr), (Some(0), "1 | one\n1 | two\n"));
}

#[test]
fn retry_runs_what_failed_and_says_what_is_not_as_it_was() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    machine.write("a", "echo a");
    machine.write("b", "rc 7");
    machine.write("c", "rc 8");
    machine
        .run(&format!("core run {specimen} a b c --json"))
        .complains(&["1 task failed: exit code 7 (file b)", "1 task failed: exit code 8 (file c)"]);
    let first = latest(&machine);
    machine.write("b", "echo fixed");
    std::fs::remove_file(machine.path("c")).unwrap();
    let again = machine.run(&format!("retry {first} --failed"));
    let lines: Vec<Value> =
        again.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["output"]), (1, &"fixed".into()), "with the same options");
    assert!(again.stderr.contains("b: has changed since"), "{}", again.stderr);
    assert!(again.stderr.contains("c: is not there any more"), "{}", again.stderr);
    let second = latest(&machine);
    assert_ne!(first, second);
    machine.run(&format!("retry {second} --failed")).complains(&["error[E0504]", "has failed"]);
    let one = machine.run(&format!("retry {first}.1"));
    assert!(one.stdout.contains("\"output\":\"a\""), "{one:?}");
    std::fs::remove_file(machine.path("b")).unwrap();
    machine.run(&format!("retry {first}.2")).complains(&["error[E0505]"]);
}

#[test]
fn failed_lines_of_standard_input_were_kept() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    let input = "echo one\nleak 256\necho two\n";
    machine
        .run_with_input(&format!("core run {specimen} --lines - --memory 64M"), input)
        .complains(&["out of memory"]);
    let first = latest(&machine);
    let again = machine.run(&format!("retry {first} --failed --memory 2G"));
    assert_eq!((again.code, &*again.stdout), (Some(0), "256\n"), "{again:?}");
    // A second time too, and under the number of the line that it was.
    machine.run(&format!("retry {first} --failed")).complains(&["(line 2)"]);
    let third = latest(&machine);
    machine.run(&format!("retry {third} --failed --memory 2G")).says("256");
    machine.run(&format!("retry {first}.1")).complains(&["came from standard input"]);
    machine.write("in", "echo one\nrc 7\n");
    machine.run(&format!("core run {specimen} --lines in")).complains(&["(line 2)"]);
    let id = latest(&machine);
    machine.write("in", "echo one\necho mended\n");
    machine.run(&format!("retry {id} --failed")).says("mended\n");
}

#[test]
fn a_job_that_is_being_retried_is_not_removed_to_make_room_and_then_it_is() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    machine
        .run_with_input(&format!("core run {specimen} --lines -"), "rc 7\necho one\nrc 8\n")
        .complains(&["(line 1)", "(line 3)"]);
    let first = latest(&machine);
    // As many later jobs as are kept.
    let records = machine.path("state/farcall/jobs");
    for id in 1..=100 {
        let record = records.join(client::JobId(id).to_string());
        std::fs::create_dir(&record).unwrap();
        std::fs::write(record.join("lock"), "").unwrap();
    }
    let again = machine.run(&format!("retry {first} --failed"));
    again.complains(&["exit code 7 (line 1)", "exit code 8 (line 3)"]);
    assert!(records.join(&first).exists());
    machine.write("in", "echo one\n");
    machine.run(&format!("core run {specimen} --lines in")).says("one");
    assert!(!records.join(&first).exists(), "it is the oldest of more than 100");
    assert_eq!(std::fs::read_dir(&records).unwrap().count(), 100);
}

#[test]
fn of_many_failed_lines_of_standard_input_as_many_are_kept_as_there_is_room_for_files() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    let input = "rc 7\n".repeat(17_000);
    machine
        .run_with_input(&format!("core run {specimen} --lines -"), &input)
        .complains(&["17000 tasks failed"]);
    let inputs = machine.path("state/farcall/jobs").join(latest(&machine)).join("inputs");
    // 64 MiB in files of one page each.
    let kept = std::fs::read_dir(inputs).unwrap().count();
    assert!((16_000..=16_384).contains(&kept), "{kept} are kept");
}

#[test]
fn ones_own_jobs_are_seen_elsewhere_and_others_are_seen_by_an_admin_alone() {
    let (first, second, admin) = (Machine::new(), Machine::new(), Machine::new());
    let specimen = second.core(SPECIMEN);
    let (_node, address) = first.start_node("--name a --slots 1");
    let token = first.run("auth token").stdout;
    second
        .run(&format!("auth join {address} --token {} --name laptop", token.trim()))
        .says("laptop");
    let token = first.run("auth token --role admin").stdout;
    admin.run(&format!("auth join {address} --token {} --name boss", token.trim())).says("boss");
    second.write("in", "hang\nhang\nhang\n");
    let _job = second.start(&format!("core run {specimen} --lines in --nodes {address}"));
    until("it has a record", || !jobs(&second, "").is_empty());
    let id = latest(&second);
    let seen = |machine: &Machine| {
        let jobs = jobs(machine, &format!("--nodes {address}"));
        jobs.iter().any(|job| job["id"] == *id && job["name"] == "libspecimen.so")
    };
    until("an admin sees it", || seen(&admin));
    assert!(!seen(&first), "somebody else does not");
    admin.run(&format!("why {id}.1 --nodes {address}")).says("it runs on a");
    first.run(&format!("why {id}.1 --nodes {address}")).complains(&["error[E0502]", "not yours"]);
}

#[test]
fn a_trace_has_a_slice_for_each_task_and_none_that_overlap_in_a_lane() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    let lines: String = (0..500).map(|n| format!("echo {n}\n")).collect();
    machine.write("in", format!("{lines}sleep 20\ncrash\nrc 7\n"));
    let ran = machine.run(&format!("core run {specimen} --lines in --trace job.json"));
    assert_eq!(ran.code, Some(1), "two tasks failed");
    let text = std::fs::read_to_string(machine.path("job.json")).unwrap();
    let trace: Value = serde_json::from_str(&text).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let tasks = events.iter().filter(|event| event["cat"] == "task").count();
    let again = events.iter().filter(|event| event["cat"] == "attempt").count();
    assert_eq!((tasks, again), (503, 2), "one each, and two attempts before the last");
    // Named lanes; times in whole nanoseconds.
    let nanos = |value: &Value| (value.as_f64().unwrap() * 1000.0).round() as i64;
    let mut lanes: BTreeMap<(u64, u64), Vec<(i64, i64)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let lane = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let start = nanos(&event["ts"]);
        lanes.entry(lane).or_default().push((start, start + nanos(&event["dur"])));
    }
    for (lane, mut slices) in lanes {
        slices.sort_unstable();
        for pair in slices.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{pair:?} overlap in lane {lane:?}");
        }
        let named = |event: &&Value| event["ph"] == "M" && event["name"] == "thread_name";
        let mut names = events.iter().filter(named);
        assert!(names.any(|name| name["pid"] == lane.0 && name["tid"] == lane.1), "{lane:?}");
    }
    machine
        .run(&format!("core run {specimen} --lines in --trace none/job.json"))
        .complains(&["error[E0401]", "none/job.json"]);
}

#[test]
fn what_nobody_knows_is_an_error_by_name() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    machine.write("a", "1 2");
    machine.run(&format!("core run {sum} a")).says("3");
    let id = latest(&machine);
    machine.run(&format!("why {id}.2")).complains(&["error[E0502]", "it has 1 task"]);
    machine.run(&format!("why {id}.0")).complains(&["error[E0502]"]);
    machine.run(&format!("why {id}")).complains(&["error[E0502]", "a task is needed"]);
    machine.run("why zzzzzzz.1").complains(&["error[E0502]", "nobody knows a task zzzzzzz.1"]);
    machine.run("why ../../etc.1").complains(&["error[E0501]"]);
    machine.run("logs zzzzzzz").complains(&["error[E0501]"]);
    machine.run("retry zzzzzzz --failed").complains(&["error[E0501]"]);
}

#[test]
fn a_damaged_record_is_named_and_hides_no_other() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    machine.write("in", "echo one\nrc 7\n");
    machine.run(&format!("core run {specimen} --lines in")).complains(&[]);
    let damaged = latest(&machine);
    machine.run(&format!("core run {specimen} --lines in")).complains(&[]);
    let record = machine.path("state/farcall/jobs").join(&damaged);
    for (file, garbage) in [("failures", "{\"task\":\n"), ("job.json", "{\"format\":9}")] {
        std::fs::write(record.join(file), garbage).unwrap();
        let told = machine.run(&format!("why {damaged}.2"));
        told.complains(&["error[E0503]", file, "remove "]);
    }
    // Half a line is what a full disk leaves: the rest of the record counts.
    let id = latest(&machine);
    let record = machine.path("state/farcall/jobs").join(&id);
    for file in ["failures", "attempts", "logs"] {
        let mut bytes = std::fs::read(record.join(file)).unwrap();
        bytes.extend(b"{\"task\":7,\"atte");
        std::fs::write(record.join(file), bytes).unwrap();
    }
    machine.run(&format!("why {id}.2")).says("its program returned 7");
    let known = machine.run("jobs");
    assert!(known.stdout.contains(&id) && known.stderr.contains("E0503"), "{known:?}");
}

#[test]
fn a_job_runs_although_its_record_cannot_be_written() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    machine.write("in", "1 2\n".repeat(20_000));
    std::fs::create_dir_all(machine.path("state/farcall")).unwrap();
    machine.write("state/farcall/jobs", "in the way");
    let ran = machine.run(&format!("core run {sum} --lines in"));
    assert_eq!((ran.code, ran.stdout.len()), (Some(0), 40_000));
    assert_eq!(ran.stderr.lines().count(), 1, "one line: {}", ran.stderr);
    assert!(ran.stderr.contains("there is no record of it"), "{}", ran.stderr);

    // A disk that fills up meanwhile, seen by this command alone.
    std::fs::remove_file(machine.path("state/farcall/jobs")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=256k none state || exit 77; {} core run {sum} --lines in",
        env!("CARGO_BIN_EXE_farcall")
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).current_dir(machine.path(""));
    command.env("FARCALL_HOME", machine.home()).env("XDG_STATE_HOME", machine.path("state"));
    let output = match command.env_remove("FARCALL_NODES").output() {
        Ok(output) if output.status.code() != Some(77) && output.status.code() != Some(1) => output,
        other => {
            support::skipped(&format!("a small file system cannot be mounted here: {other:?}"));
            return;
        }
    };
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 40_000));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("its record in") && said.contains("is incomplete"), "{said}");
}

#[test]
fn the_latest_hundred_records_are_kept_and_nothing_else_is_touched() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    machine.write("a", "1 2");
    let folder = machine.path("state/farcall/jobs");
    for number in 0..120 {
        let record = folder.join(format!("00000{:02}", number % 100));
        let record = if number < 100 { record } else { folder.join(format!("not-a-job-{number}")) };
        std::fs::create_dir_all(&record).unwrap();
        std::fs::write(record.join("lock"), "").unwrap();
    }
    std::fs::create_dir(folder.join("0000abc")).unwrap();
    std::fs::write(folder.join("0000abc/mine"), "no record").unwrap();
    machine.run(&format!("core run {sum} a")).says("3");
    machine.run(&format!("core run {sum} a")).says("3");
    let names = std::fs::read_dir(&folder).unwrap();
    let names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let records = names.iter().filter(|name| !name.starts_with("not-a-job") && *name != "0000abc");
    assert_eq!(records.count(), 100);
    assert_eq!(names.len(), 100 + 20 + 1);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&folder).unwrap());
    let latest = names.iter().find(|name| folder.join(name).join("attempts").exists()).unwrap();
    let own =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(folder.join(latest)).unwrap());
    assert_eq!(own & 0o777, 0o700, "a record is its user's alone; the folder here is {mode:o}");
}
