//! What a region that is made may be.

use wire::limits::{COHERENT_PAGE, PAGE_SIZE_MAX, PAGE_SIZE_MIN, PAGES_MAX};
use wire::region::{Bound, Create, Durability, Refusal, Style};

pub(super) fn must_be_bounded(create: &Create) -> Result<(), Refusal> {
    let size = create.page_size;
    if !(PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&size) || !size.is_power_of_two() {
        let (value, max) = (u64::from(size), u64::from(PAGE_SIZE_MAX));
        return Err(Refusal::OutOfBounds { what: Bound::PageSize, value, max });
    }
    if create.style == Style::Coherent && size != COHERENT_PAGE {
        return Err(Refusal::NotMappable { page_size: size });
    }
    if !(1..=PAGES_MAX).contains(&create.pages) {
        let (value, max) = (create.pages, PAGES_MAX);
        return Err(Refusal::OutOfBounds { what: Bound::Pages, value, max });
    }
    Ok(())
}

pub(super) fn no_vault(durability: Durability) -> String {
    match durability {
        Durability::Replicated => "this node was started without --etcd".to_owned(),
        Durability::None | Durability::Async | Durability::Sync => {
            "this node keeps nothing on a disk".to_owned()
        }
    }
}
