#include "fp_service.h"

int main(int argc, char **argv)
{
    return svc_main(&fp_service, argc, argv);
}
