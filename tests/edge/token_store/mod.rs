//! Where the machine token lives, with what a machine really has: `age`, a keyring, kills, and no
//! session bus. What needs none of it is tested beside the code.

mod age;
mod child;
mod command;
mod keyring;
mod kills;
mod seed;
mod types;
