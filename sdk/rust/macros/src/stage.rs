//! `#[gristmill::stage]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{
    Error, ExprArray, FnArg, GenericArgument, ItemFn, LitStr, PathArguments, ReturnType, Type,
    TypeParamBound,
};

/// What stands in the attribute's parentheses.
#[derive(Default)]
struct Arguments {
    reads: Option<ExprArray>,
    drops: Option<ExprArray>,
    name: Option<LitStr>,
}

impl Arguments {
    fn read(&mut self, meta: ParseNestedMeta<'_>) -> Result<(), Error> {
        if meta.path.is_ident("reads") {
            self.reads = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("drops") {
            self.drops = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("name") {
            self.name = Some(meta.value()?.parse()?);
        } else {
            return Err(meta.error(
                "expected `reads = [\"column\"]`, `drops = [\"column\"]` or `name = \"stage\"`",
            ));
        }
        Ok(())
    }
}

pub fn expand(arguments: TokenStream, function: TokenStream) -> Result<TokenStream, Error> {
    let mut read = Arguments::default();
    syn::meta::parser(|meta| read.read(meta)).parse2(arguments)?;
    let function: ItemFn = syn::parse2(function)?;
    let signature = &function.sig;
    let plain =
        signature.generics.params.iter().all(|p| matches!(p, syn::GenericParam::Lifetime(_)));
    if !plain || signature.asyncness.is_some() {
        let message = "a stage is a plain function: no type parameters, not async";
        return Err(Error::new_spanned(signature, message));
    }
    let ident = &signature.ident;
    let (config, call) = match config_type(function.sig.inputs.iter().collect())? {
        None => (quote!(::gristmill::rows::NoConfig), quote!(#ident(row))),
        Some(config) => (quote!(#config), quote!(#ident(row, config))),
    };
    let (answer, call) = answer(&signature.output, call)?;
    let name = read.name.map_or_else(|| ident.unraw().to_string(), |name| name.value());
    let reads = match read.reads {
        None => quote!(::core::option::Option::None),
        Some(reads) => quote!(::core::option::Option::Some(&#reads)),
    };
    let drops = read.drops.map_or_else(|| quote!([]), |drops| quote!(#drops));
    let stage = format_ident!("{}Stage", camel_case(&ident.unraw().to_string()));
    let marker = format_ident!("{}Function", camel_case(&ident.unraw().to_string()));
    Ok(quote! {
        #function

        #[doc(hidden)]
        #[derive(Debug)]
        pub struct #marker;

        impl ::gristmill::rows::RowFunction for #marker {
            type Config = #config;
            const NAME: &'static str = #name;
            const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            const READS: ::core::option::Option<&'static [&'static str]> = #reads;
            const DROPS: &'static [&'static str] = &#drops;

            fn columns() -> ::std::vec::Vec<::gristmill::Field> {
                <#answer as ::gristmill::rows::Answer>::columns()
            }

            fn call(
                row: ::gristmill::Row<'_>,
                config: &Self::Config,
                output: &mut ::gristmill::rows::RowOutput,
            ) {
                let _ = config;
                ::gristmill::rows::Answer::give(#call, output)
            }
        }

        /// The stage that the function makes, for tests.
        pub type #stage = ::gristmill::rows::RowStage<#marker>;

        ::gristmill::export!(#stage);
    })
}

/// The type behind the `&` of the second parameter.
fn config_type(inputs: Vec<&FnArg>) -> Result<Option<Type>, Error> {
    let expected = "expected `fn(row: Row) -> …` or `fn(row: Row, config: &Config) -> …`";
    match inputs.as_slice() {
        [FnArg::Typed(_)] => Ok(None),
        [FnArg::Typed(_), FnArg::Typed(config)] => match &*config.ty {
            Type::Reference(reference) => Ok(Some((*reference.elem).clone())),
            other => Err(Error::new_spanned(other, "the configuration is lent: `config: &Config`")),
        },
        [] => Err(Error::new(proc_macro2::Span::call_site(), expected)),
        [first, ..] => Err(Error::new_spanned(first, expected)),
    }
}

/// The type whose columns the stage makes, and the call as an answer.
fn answer(output: &ReturnType, call: TokenStream) -> Result<(TokenStream, TokenStream), Error> {
    let ReturnType::Type(_, returned) = output else {
        let message = "a stage answers: `bool`, a struct with `#[derive(gristmill::Row)]`, an `Option`, \
                       `Vec` or `impl Iterator` of it, or a `Result`";
        return Err(Error::new_spanned(output, message));
    };
    let Type::ImplTrait(iterator) = &**returned else {
        return Ok((quote!(#returned), call));
    };
    let item = iterator.bounds.iter().find_map(item_of);
    let item =
        item.ok_or_else(|| Error::new_spanned(iterator, "expected `impl Iterator<Item = …>`"))?;
    Ok((quote!(::std::vec::Vec<#item>), quote!(::gristmill::rows::Many(#call))))
}

/// `T` of `Iterator<Item = T>`.
fn item_of(bound: &TypeParamBound) -> Option<&Type> {
    let TypeParamBound::Trait(bound) = bound else { return None };
    let segment = bound.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
        _ => None,
    })
}

fn camel_case(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>())
    };
    name.split('_').filter_map(capital).collect()
}
