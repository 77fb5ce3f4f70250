//! The orders a nest of up to five loops can run in.

use std::sync::OnceLock;

/// Loops over batch, output rows, output columns, input channels and output channels.
pub(super) const BATCH: usize = 0;
pub(super) const ROWS: usize = 1;
pub(super) const COLS: usize = 2;
pub(super) const INPUTS: usize = 3;
pub(super) const OUTPUTS: usize = 4;
pub(super) const LOOPS: usize = 5;

/// One order, innermost loop first; only loops that repeat are in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    loops: [u8; LOOPS],
    len: u8,
}

impl Order {
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.loops[..usize::from(self.len)].iter().map(|index| usize::from(*index))
    }
}

/// All orders of the loops whose bit is set in `mask`. Rows and columns are
/// interchangeable, so that rows always run outside of columns.
pub(super) fn orders(mask: usize) -> &'static [Order] {
    static ORDERS: OnceLock<Vec<Vec<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| (0..1 << LOOPS).map(all_orders).collect());
    &orders[mask]
}

fn all_orders(mask: usize) -> Vec<Order> {
    let mut found = Vec::new();
    extend(Order { loops: [0; LOOPS], len: 0 }, mask, &mut found);
    found
}

fn extend(order: Order, rest: usize, found: &mut Vec<Order>) {
    if rest == 0 {
        found.push(order);
        return;
    }
    for next in (0..LOOPS).filter(|next| rest & (1 << next) != 0) {
        if next == ROWS && rest & (1 << COLS) != 0 {
            continue;
        }
        let mut longer = order;
        longer.loops[usize::from(order.len)] = next as u8;
        longer.len += 1;
        extend(longer, rest & !(1 << next), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_there_once_with_rows_outside_columns() {
        assert_eq!(orders(0).len(), 1);
        assert_eq!(orders(1 << INPUTS | 1 << OUTPUTS).len(), 2);
        assert_eq!(orders((1 << LOOPS) - 1).len(), 60);
    }
}
