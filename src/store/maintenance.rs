//! Care for a database file while others use it: copy it, check it, give back its free space.

mod backup;
mod check;
mod space;
mod vacuum;

pub use backup::Backup;
pub use check::DatabaseCheck;
pub use vacuum::Vacuumed;
