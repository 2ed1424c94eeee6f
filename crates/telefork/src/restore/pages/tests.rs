use super::*;

#[test]
fn no_page_is_named_twice() {
    let run = |page, count| Run { page, count };
    let mut named = Named::default();
    named.add(&[run(10, 5), run(0, 10), run(15, 1), run(12, 0)]).unwrap();
    for again in [run(0, 1), run(14, 2), run(9, 2), run(15, u32::MAX), run(u64::MAX, 1)] {
        let refused = named.add(&[again]).unwrap_err();
        assert_eq!(refused, Refusal::Twice { page: again.page });
    }
    named.add(&[run(16, u32::MAX)]).unwrap();
}
