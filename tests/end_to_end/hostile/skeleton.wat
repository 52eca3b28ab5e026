  (memory (export "memory") 3)
  (data (i32.const 1024) "{\"contract\":\"1.0\",\"name\":\"hostile\",\"reads\":[\"value\"],\"columns\":[{\"name\":\"made\",\"type\":\"string\",\"nullable\":true}]}")

  ;; The result of both functions lies at 0, the output frame at 8 KiB, the input from 64 KiB on.
  (func $result (param $tag i32) (param $at i32) (param $size i32) (result i32)
    (i32.store (i32.const 0) (local.get $tag))
    (i32.store offset=4 (i32.const 0) (local.get $at))
    (i32.store offset=8 (i32.const 0) (local.get $size))
    (i32.const 0))

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (if (i32.gt_u (local.get 3) (i32.const 131072)) (then unreachable))
    (i32.const 65536))

  (func (export "describe") (param $at i32) (param $size i32) (result i32)
    (call $describe (local.get $at) (local.get $size)))

  (func (export "process") (param $at i32) (param $size i32) (result i32)
    (if (call $any_begins_with_b (local.get $at))
      (then (return (call $hostile (local.get $at) (local.get $size)))))
    (call $good (local.get $at)))

  ;; The descriptor of `value`; where its offsets and its bytes lie.
  (func $column (param $at i32) (result i32)
    (i32.add (local.get $at) (i32.load16_u offset=4 (local.get $at))))
  (func $offsets (param $at i32) (result i32)
    (i32.add (local.get $at) (i32.load offset=16 (call $column (local.get $at)))))
  (func $bytes (param $at i32) (result i32)
    (i32.add (local.get $at) (i32.load offset=24 (call $column (local.get $at)))))

  (func $any_begins_with_b (param $at i32) (result i32)
    (local $row i32)
    (loop $next
      (if (i32.ge_u (local.get $row) (i32.load offset=12 (local.get $at))) (then (return (i32.const 0))))
      (if (i32.eq (i32.const 98) (i32.load8_u (i32.add
            (call $bytes (local.get $at))
            (i32.load (i32.add (call $offsets (local.get $at)) (i32.shl (local.get $row) (i32.const 2)))))))
        (then (return (i32.const 1))))
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (br $next))
    (unreachable))

  ;; A frame whose one column points at the texts of the input, where they are.
  (func $good (param $at i32) (result i32)
    (memory.fill (i32.const 8192) (i32.const 0) (i32.const 96))
    (i32.store (i32.const 8192) (i32.const 0x31464d47))
    (i32.store offset=4 (i32.const 8192) (i32.const 0x00200040))
    (i32.store offset=8 (i32.const 8192) (i32.const 96))
    (i32.store offset=12 (i32.const 8192) (i32.load offset=12 (local.get $at)))
    (i32.store offset=16 (i32.const 8192) (i32.const 1))
    (i32.store offset=64 (i32.const 8192) (i32.load offset=12 (local.get $at)))
    (i32.store offset=80 (i32.const 8192) (i32.sub (call $offsets (local.get $at)) (i32.const 8192)))
    (i32.store offset=84 (i32.const 8192) (i32.load offset=20 (call $column (local.get $at))))
    (i32.store offset=88 (i32.const 8192) (i32.sub (call $bytes (local.get $at)) (i32.const 8192)))
    (i32.store offset=92 (i32.const 8192) (i32.load offset=28 (call $column (local.get $at))))
    (call $result (i32.const 0) (i32.const 8192) (i32.const 96)))
