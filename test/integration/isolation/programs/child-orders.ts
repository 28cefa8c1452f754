/** What `child.ts` can be told; it says type 0 when it is ready. */
export const ChildOrder = {
  Echo: 1,
  Abort: 2,
  Garbage: 3,
  Block: 4,
  Print: 5,
  Environment: 6,
  ReadDescriptor5: 7,
} as const;
