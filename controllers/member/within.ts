import { AppError } from '#core/errors.ts';

/**
 * The same promise, but not for longer than `ms` milliseconds. What comes after that is not waited for.
 *
 * @param late called with what came too late
 * @throws AppError `timeout`
 */
export function within<T>(promise: Promise<T>, ms: number, what: string, late: (value: T) => void = () => undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    let over = false;
    const timer = setTimeout(() => {
      over = true;
      reject(new AppError('timeout', `${what} took longer than ${ms} ms`));
    }, ms);
    promise.then(
      (value) => {
        clearTimeout(timer);
        if (over) late(value);
        else resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
