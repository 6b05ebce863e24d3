/**
 * The few functions of the `reflect-metadata` proposal that the certificate library's container calls when it is loaded. To be imported,
 * for its side effect, before `@peculiar/x509`. Does nothing where somebody already provides them.
 */
type Target = object;
interface Metadata {
  getMetadata?: (key: unknown, target: Target) => unknown;
  getOwnMetadata?: (key: unknown, target: Target) => unknown;
  defineMetadata?: (key: unknown, value: unknown, target: Target) => void;
}

const reflect = Reflect as typeof Reflect & Metadata;
if (reflect.getMetadata === undefined) {
  const store = new WeakMap<Target, Map<unknown, unknown>>();
  reflect.getOwnMetadata = (key, target) => store.get(target)?.get(key);
  reflect.getMetadata = (key, target) => {
    for (let at: Target | null = target; at !== null; at = Object.getPrototypeOf(at) as Target | null) {
      const values = store.get(at);
      if (values?.has(key)) return values.get(key);
    }
    return undefined;
  };
  reflect.defineMetadata = (key, value, target) => {
    const values = store.get(target) ?? new Map<unknown, unknown>();
    values.set(key, value);
    store.set(target, values);
  };
}

export {};
