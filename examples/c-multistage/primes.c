/* Print the prime numbers up to the one given, by the sieve of Eratosthenes. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    long most = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (most < 2 || most > 100000000) {
        fprintf(stderr, "usage: primes NUMBER (2 to 100000000)\n");
        return 2;
    }
    char *composite = calloc(most + 1, 1);
    if (composite == NULL) {
        perror("primes");
        return 1;
    }
    for (long number = 2; number <= most; number++) {
        if (composite[number])
            continue;
        printf("%ld\n", number);
        for (long multiple = number * number; multiple <= most; multiple += number)
            composite[multiple] = 1;
    }
    free(composite);
    return 0;
}
