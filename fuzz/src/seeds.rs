//! What fuzzing begins with: the test vectors of `docs/protocol.md` and `docs/image.md`, dressed for each target.
//!
//! ````text
//! ```vector
//! name: credit
//! hex:  21 0000000000000000 0100000000000000 05
//! says: channel 0, Credit(Credit { limit: 5 })
//! ```
//! ````
//!
//! Nothing but std is used here: `cargo xtask fuzz` and tests of several crates include this file.

/// One vector. `bytes` are one whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector {
    pub name: String,
    pub bytes: Vec<u8>,
    /// What the frame says, as the Rust types print it.
    pub says: String,
}

/// Reads all vectors of a text. The error says which one is no vector.
pub fn vectors(text: &str) -> Result<Vec<Vector>, String> {
    vectors_of("vector", text)
}

/// The same of the worker socket protocol v1, whose frames mean other things.
pub fn vectors_v1(text: &str) -> Result<Vec<Vector>, String> {
    vectors_of("vector-v1", text)
}

/// The same of NetMem, whose messages have another header.
pub fn vectors_netmem(text: &str) -> Result<Vec<Vector>, String> {
    vectors_of("vector-netmem", text)
}

/// The same of images: parts that make one image together.
pub fn vectors_image(text: &str) -> Result<Vec<Vector>, String> {
    vectors_of("vector-image", text)
}

/// What an image says that is upon another.
pub fn vectors_image_upon(text: &str) -> Result<Vec<Vector>, String> {
    vectors_of("vector-image-upon", text)
}

/// Pieces of memory that follow an image: a head, and what comes behind it.
pub fn vectors_piece(text: &str) -> Result<Vec<Vector>, String> {
    vectors_of("vector-piece", text)
}

/// The vectors that a target begins with.
pub fn vectors_for(target: &str, text: &str) -> Result<Vec<Vector>, String> {
    match target {
        "worker_v1" => vectors_v1(text),
        "netmem" => vectors_netmem(text),
        // Images have a paper of their own.
        "image" => {
            let paper = include_str!("../../docs/image.md");
            Ok([vectors_image(paper)?, vectors_image_upon(paper)?].concat())
        }
        "image_paging" => vectors_piece(include_str!("../../docs/image.md")),
        _ => vectors(text),
    }
}

fn vectors_of(kind: &str, text: &str) -> Result<Vec<Vector>, String> {
    let fence = format!("\n```{kind}\n");
    let blocks = text.split(fence.as_str()).skip(1);
    blocks.map(|block| vector(block.split("\n```").next().unwrap_or(block))).collect()
}

fn vector(block: &str) -> Result<Vector, String> {
    let mut fields = [("name:", String::new()), ("hex:", String::new()), ("says:", String::new())];
    let mut current = None;
    for line in block.lines() {
        let begins = fields.iter().position(|(field, _)| line.starts_with(field));
        let rest = begins.map_or(line, |at| &line[fields[at].0.len()..]);
        current = begins.or(current);
        let Some(at) = current else { return Err(format!("no field before {line:?}")) };
        let text = &mut fields[at].1;
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(rest.trim());
    }
    let [(_, name), (_, hex), (_, says)] = fields;
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| match pair {
        [high, low] => Some((high.to_digit(16)? * 16 + low.to_digit(16)?) as u8),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    let bytes = bytes.ok_or_else(|| format!("vector {name}: {hex:?} is not hexadecimal"))?;
    Ok(Vector { name, bytes, says })
}

/// The inputs to begin with, of a target that exists.
pub fn seeds(target: &str, vectors: &[Vector]) -> Vec<Vec<u8>> {
    let each = |dress: &dyn Fn(&[u8]) -> Vec<u8>| -> Vec<Vec<u8>> {
        vectors.iter().map(|vector| dress(&vector.bytes)).collect()
    };
    let named = |name: &str| -> Vec<u8> {
        let vector = vectors.iter().find(|vector| vector.name == name);
        vector.map_or_else(Vec::new, |vector| vector.bytes.clone())
    };
    let greeting = [named("version"), named("hello-client")].concat();
    let welcome = [named("version-accepted"), named("welcome")].concat();
    match target {
        "frame" => each(&|frame| [&[255, 5], frame, frame].concat()),
        "message" => each(&|frame| [&frame[..1], &frame[17..]].concat()),
        "link" => {
            let mut all = each(&|frame| [&[0, 64], &greeting[..], frame].concat());
            all.extend(each(&|frame| [&[1, 64], &welcome[..], frame].concat()));
            all.push([&[2, 64], &greeting[..]].concat());
            all
        }
        "node" => {
            let mut all = each(&|frame| [&greeting[..], frame].concat());
            all.extend(lives(&greeting, named));
            all
        }
        "regions" => {
            let begun = [named("region-create"), named("attach")].concat();
            let kept = happening(0xe8, 9, &[]);
            let mut all = each(&|frame| [&begun[..], frame, &kept].concat());
            all.push(
                [&begun[..], &named("request-lock"), &named("request-commit"), &kept].concat(),
            );
            all
        }
        // Given the vectors of their own.
        "worker_v1" | "netmem" => each(&|message| message.to_vec()),
        "image" => {
            // The whole image, the beginning of one that is upon another, and sections' fronts behind their kinds.
            let end = vectors.iter().position(|vector| vector.name == "end");
            let (whole, upon) = vectors.split_at(end.map_or(0, |end| end + 1));
            let bytes = |vectors: &[Vector]| -> Vec<u8> {
                vectors.iter().flat_map(|vector| vector.bytes.clone()).collect()
            };
            let host = &whole[..whole.len().min(2)];
            let mut all = vec![bytes(whole), [bytes(host), bytes(upon)].concat()];
            let sections = vectors.iter().filter(|vector| vector.name.starts_with("section-"));
            all.extend(sections.filter_map(|section| {
                let front = u32::from_le_bytes(section.bytes.get(8..12)?.try_into().ok()?) as usize;
                let kind = section.bytes[0] - 1;
                Some([&[kind], section.bytes.get(32..32 + front)?].concat())
            }));
            all
        }
        // Each kind of a piece, the packed one as its vector, and a request: little-endian words.
        "image_paging" => [1_u32, 2, 3]
            .map(|kind| {
                let [len, address] = if kind == 3 { [0, 0] } else { [4096_u32, 0x1000] };
                let sum = u64::from(kind == 1);
                let head = [kind.to_le_bytes(), len.to_le_bytes()].concat();
                [&head[..], &u64::from(address).to_le_bytes(), &sum.to_le_bytes()].concat()
            })
            .into_iter()
            .chain([[&0x1000_u64.to_le_bytes()[..], &4096_u64.to_le_bytes()].concat()])
            .chain(each(&|piece| piece.to_vec()))
            .collect(),
        "payload_head" => vec![(0..16).collect()],
        "kept" => (0..5).map(|kind| [kind; 40].to_vec()).collect(),
        // A key with two certificates, and a reason.
        "delegation" => [&[0, 2, 1, 1, 1, 2, 1, 3][..], &[1, 3, b'n', b'o', b'w']]
            .map(|body: &[u8]| [&(body.len() as u32).to_le_bytes()[..], body].concat())
            .to_vec(),
        // What it wrote itself, then the mark, and that it returned three bytes, or panicked.
        "answer" => [&[0, 3, 1, 2, 3][..], &[1, 2, b'n', b'o'], &[]]
            .map(|body: &[u8]| {
                let length = (body.len() as u64).to_le_bytes();
                [&[7][..], b"said", b"a mark of a call", &length, body].concat()
            })
            .to_vec(),
        "token" => vec![TOKEN.into()],
        _ => Vec::new(),
    }
}

/// A token with a right checksum, which no fuzzer finds.
const TOKEN: &str = "farcall1-\
    paWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaVaWlpaWlpaWlpaWlpaWlpaAgAAAAB3NZQAB6B1";

/// A frame of the world around a node; `node` says what they mean.
pub fn happening(kind: u8, channel: u64, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u64;
    [&[kind], &channel.to_le_bytes()[..], &length.to_le_bytes(), body].concat()
}

/// Whole lives of a client at a node.
fn lives(greeting: &[u8], named: impl Fn(&str) -> Vec<u8>) -> Vec<Vec<u8>> {
    let worker = |what: u8, detail: u8| happening(0xe3, 0, &[what, detail]);
    let begun = [greeting.to_vec(), named("define"), named("run-inline"), worker(0, 0)].concat();
    let bytes = happening(0xe2, 6, &(1_u64 << 20).to_le_bytes());
    let wait = happening(0xe0, 1_000_000_000, &[]);
    let bulk = [begun.clone(), worker(2, 0), named("run-bulk"), bytes.clone()].concat();
    let asks = |what: u8| happening(0xe7, 0, &[what]);
    let loaded = [
        happening(0xe1, 1, &[]),
        happening(0xe5, 0, &[]),
        happening(0xe6, 0, &[]),
        asks(0),
        asks(2),
    ]
    .concat();
    let loaded = [loaded, worker(0, 0)].concat();
    let lives = [
        // A controller: jobs of both sizes, a crash, another core, the end.
        vec![loaded.clone(), asks(3), asks(4), worker(2, 0), worker(5, 1), worker(0, 0), asks(3)],
        vec![loaded.clone(), asks(3), asks(2), asks(3), worker(2, 0), worker(5, 4), worker(0, 0)],
        vec![loaded.clone(), asks(4), worker(2, 1), asks(7), worker(5, 4)],
        vec![loaded, asks(3), asks(8), asks(3), happening(0xe4, 0, &[]), worker(2, 0)],
        // A small task; one with a buffer whose result lies in the same; its result a second time.
        vec![bulk.clone(), worker(2, 1), worker(4, 0)],
        // A payload before its task, a crash at it, and what was left over.
        vec![begun.clone(), bytes, named("run-bulk"), worker(5, 1), wait.clone(), worker(0, 0)],
        vec![begun.clone(), named("cancel"), worker(5, 1)],
        vec![begun, named("run-deadline"), named("take-back-all"), happening(0xe4, 0, &[]), wait],
        vec![bulk, named("cancel"), happening(0xe5, 0, &[])],
        vec![
            [greeting, &named("define"), &named("run-stream"), &named("data")].concat(),
            [worker(0, 0), worker(8, 0), named("window"), named("end"), worker(10, 2)].concat(),
            [worker(9, 0), worker(2, 0), named("data")].concat(),
        ],
        vec![happening(0xe1, 1, &[]), named("version"), named("hello-join"), named("join")],
        vec![happening(0xe1, 13, &[]), named("version"), named("hello-node"), named("members")],
        // A region, its connection, and a request to it.
        vec![
            [greeting.to_vec(), named("region-create-private"), happening(0xe1, 5, &[])].concat(),
            [named("version"), named("hello-memory"), named("attach")].concat(),
            [named("request-lock"), named("request-update"), named("request-read")].concat(),
            [happening(0xe0, 1_000_000_000, &[]), named("request-detach")].concat(),
        ],
        vec![
            happening(0xe1, 5, &[]),
            greeting.to_vec(),
            happening(0xe1, 6, &[]),
            named("version"),
            named("hello-bulk"),
        ],
    ];
    lives.iter().map(|life| life.concat()).collect()
}
