//! The macros of gristmill-sdk: `#[gristmill::stage]` over a function, and
//! `#[derive(gristmill::Row)]`. What they mean is documented in gristmill's module `rows`.

mod row;
mod stage;

use proc_macro::TokenStream;

/// Makes a stage of a function over rows. `#[gristmill::stage(reads = ["city"])]` names the columns
/// that the function reads (default: all), `name = "…"` the module (default: the function's name).
///
/// Beside the function it makes a type for tests: of `fn keep` it is `KeepStage`.
#[proc_macro_attribute]
pub fn stage(arguments: TokenStream, function: TokenStream) -> TokenStream {
    stage::expand(arguments.into(), function.into())
        .unwrap_or_else(|why| why.to_compile_error())
        .into()
}

/// Makes columns of a struct: one per member, called as the member or as `#[row(name = "…")]` says.
#[proc_macro_derive(Row, attributes(row))]
pub fn row(structure: TokenStream) -> TokenStream {
    row::expand(structure.into()).unwrap_or_else(|why| why.to_compile_error()).into()
}
