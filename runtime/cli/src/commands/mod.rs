//! One file per command: its flags, then what it does.

pub mod api_key;
pub mod broker;
pub mod capture;
pub mod dead_letters_list;
pub mod dead_letters_replay;
pub mod dead_letters_show;
pub mod demo;
pub mod explain;
pub mod produce;
pub mod run;
pub mod table_show;
pub mod test;
pub mod topic_consume;
pub mod topic_create;
pub mod topic_delete;
pub mod topic_describe;
pub mod topic_list;
pub mod validate;
pub mod version;
