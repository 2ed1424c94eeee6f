//! The body of the fuzz target `token`, where there is no fuzzer.

#[path = "../../../fuzz/src/noise.rs"]
pub mod noise;
#[path = "../../../fuzz/src/seeds.rs"]
pub mod seeds;
#[path = "../../../fuzz/src/token.rs"]
pub mod token;

extern crate farcall_transport as transport;

#[test]
fn no_text_confuses_the_reader_of_tokens() {
    let seeds = seeds::seeds("token", &[]);
    let text = str::from_utf8(&seeds[0]).expect("a token is text");
    assert_eq!(text.parse::<transport::Token>().expect("the seed is a token").to_string(), text);
    noise::feed(20_000, &seeds, token::parse);
}
