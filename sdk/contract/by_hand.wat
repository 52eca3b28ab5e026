;; A whole stage by hand: keeps the rows whose column `n`, a long, is an even number. No SDK, no import.
;; `wat2wasm by_hand.wat` makes a module of it; any compiler that can export these functions makes another.
(module
  (memory (export "memory") 2)

  ;; Where things lie: the `result` of both functions at 0, the answer of `describe` at 1024, the input from
  ;; 64 KiB on, the output frame behind the input.
  (global $input i32 (i32.const 65536))
  (data (i32.const 1024) "{\"contract\":\"1.0\",\"name\":\"even\",\"version\":\"0.1.0\",\"reads\":[\"n\"]}")

  ;; The host asks for a place for its input, once per call. The input of the call before is done with, so
  ;; that the place is always the same; there must be room for the output behind it.
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $pages i32)
    (local.set $pages (i32.add (i32.const 3) (i32.shr_u (local.get $size) (i32.const 15))))
    (if (i32.gt_u (local.get $pages) (memory.size))
      (then (if (i32.eq (memory.grow (i32.sub (local.get $pages) (memory.size))) (i32.const -1))
        (then unreachable))))
    (global.get $input))

  ;; ok (0) or err (1), three bytes of padding, address, size: what both functions answer.
  (func $ok (param $at i32) (param $size i32) (result i32)
    (i32.store (i32.const 0) (i32.const 0))
    (i32.store offset=4 (i32.const 0) (local.get $at))
    (i32.store offset=8 (i32.const 0) (local.get $size))
    (i32.const 0))

  (func (export "describe") (param $at i32) (param $size i32) (result i32)
    (call $ok (i32.const 1024) (i32.const 64)))

  (func (export "process") (param $at i32) (param $size i32) (result i32)
    (local $column i32) (local $values i32) (local $rows i32) (local $row i32) (local $out i32) (local $kept i32)
    ;; The one array descriptor stands behind the header, whose size is at 4.
    (local.set $column (i32.add (local.get $at) (i32.load16_u offset=4 (local.get $at))))
    (local.set $values (i32.add (local.get $at) (i32.load offset=24 (local.get $column))))
    (local.set $rows (i32.load offset=12 (local.get $at)))
    ;; The output frame: a header of 64 bytes, then the numbers of the rows that are kept.
    (local.set $out (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 127)) (i32.const -64)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $row) (local.get $rows)))
        (if (i32.and
              (call $is_valid (local.get $at) (local.get $column) (local.get $row))
              (i64.eqz (i64.and (i64.const 1)
                (i64.load (i32.add (local.get $values) (i32.shl (local.get $row) (i32.const 3)))))))
          (then
            (i32.store offset=64
              (i32.add (local.get $out) (i32.shl (local.get $kept) (i32.const 2)))
              (local.get $row))
            (local.set $kept (i32.add (local.get $kept) (i32.const 1)))))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br $next)))
    (memory.fill (local.get $out) (i32.const 0) (i32.const 64))
    (i32.store (local.get $out) (i32.const 0x31464d47))                 ;; GMF1
    (i32.store16 offset=4 (local.get $out) (i32.const 64))              ;; header_size
    (i32.store16 offset=6 (local.get $out) (i32.const 32))              ;; descriptor_size
    (i32.store offset=8 (local.get $out)                                ;; frame_size
      (i32.add (i32.const 64) (i32.shl (local.get $kept) (i32.const 2))))
    (i32.store offset=12 (local.get $out) (local.get $kept))            ;; row_count
    (i32.store offset=20 (local.get $out) (i32.const 1))                ;; flags: `rows` is present
    (i32.store offset=24 (local.get $out) (i32.const 64))               ;; rows: offset, size
    (i32.store offset=28 (local.get $out) (i32.shl (local.get $kept) (i32.const 2)))
    (call $ok (local.get $out) (i32.load offset=8 (local.get $out))))

  ;; The bit of a row in the validity bitmap; without nulls there may be none.
  (func $is_valid (param $at i32) (param $column i32) (param $row i32) (result i32)
    (if (i32.eqz (i32.load offset=4 (local.get $column))) (then (return (i32.const 1))))
    (i32.and (i32.const 1)
      (i32.shr_u
        (i32.load8_u (i32.add
          (i32.add (local.get $at) (i32.load offset=8 (local.get $column)))
          (i32.shr_u (local.get $row) (i32.const 3))))
        (i32.and (local.get $row) (i32.const 7))))))
