/** What a promise rejects with. Throws when it resolves, and when it rejects with anything else. */
export async function rejectionOf<E extends Error>(
  promise: Promise<unknown>,
  type: abstract new (...parameters: never[]) => E,
): Promise<E> {
  const outcome = await promise.then(
    () => 'it resolved',
    (error: unknown) => error,
  );
  if (outcome instanceof type) return outcome;
  throw new Error(`no ${type.name}: ${String(outcome)}`, { cause: outcome });
}
