//! `#[derive(gristmill::Row)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Field, Fields, LitStr, Type};

pub fn expand(structure: TokenStream) -> Result<TokenStream, Error> {
    let input: DeriveInput = syn::parse2(structure)?;
    let named = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Some(&fields.named),
            _ => None,
        },
        _ => None,
    };
    let Some(members) = named else {
        return Err(Error::new_spanned(&input.ident, "a row is a struct with named members"));
    };
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(parameter, "a row has no type or lifetime parameters"));
    }
    let ident = &input.ident;
    let names = members.iter().map(column_name).collect::<Result<Vec<_>, _>>()?;
    let types: Vec<&Type> = members.iter().map(|member| &member.ty).collect();
    let idents: Vec<_> = members.iter().map(|member| &member.ident).collect();
    let indices = 0..idents.len();
    let indices: Vec<usize> = indices.collect();
    Ok(quote! {
        impl #ident {
            fn __gristmill_fields() -> ::std::vec::Vec<::gristmill::Field> {
                ::std::vec![#(::gristmill::Field {
                    name: ::std::string::String::from(#names),
                    data_type: <#types as ::gristmill::rows::Cell>::data_type(),
                    nullable: <#types as ::gristmill::rows::Cell>::NULLABLE,
                }),*]
            }

            fn __gristmill_push(self, columns: &mut [::gristmill::Column]) {
                #(::gristmill::rows::Cell::push(self.#idents, &mut columns[#indices]);)*
            }
        }

        impl ::gristmill::rows::Answer for #ident {
            fn columns() -> ::std::vec::Vec<::gristmill::Field> {
                Self::__gristmill_fields()
            }

            fn give(self, output: &mut ::gristmill::rows::RowOutput) {
                self.__gristmill_push(output.next_row());
            }
        }

        impl ::gristmill::rows::Cell for #ident {
            fn data_type() -> ::gristmill::DataType {
                ::gristmill::DataType::Struct(Self::__gristmill_fields())
            }

            fn push(self, column: &mut ::gristmill::Column) {
                self.__gristmill_push(column.children_mut());
                column.push_struct();
            }
        }
    })
}

/// The member's name, or that of `#[row(name = "…")]`.
fn column_name(member: &Field) -> Result<String, Error> {
    let mut name = member.ident.as_ref().map(|ident| ident.unraw().to_string());
    for attribute in member.attrs.iter().filter(|attribute| attribute.path().is_ident("row")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("name") {
                return Err(meta.error("expected `name = \"column\"`"));
            }
            name = Some(meta.value()?.parse::<LitStr>()?.value());
            Ok(())
        })?;
    }
    Ok(name.unwrap_or_default())
}
