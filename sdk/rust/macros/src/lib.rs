//! The macros of gristmill-sdk.
